/* SPDX-License-Identifier: MIT */
/*
 * One picture: for each row on one CPU a group of bars, server CPU an
 * operation relative to the best peer's (the line at 1), a mark where the
 * goal is and one where the batch floor is. Plain SVG, no scripts.
 */

#include "tests/bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	LEFT = 190,
	WIDTH = 560,		/* of the plot: SCALE times the best peer */
	BAR = 9,
	GAP = 9,
	TOP = 70,
};
#define SCALE 1.6

static const char *const colour[] = { "#1f6fb2", "#c9a227", "#a8553a",
				      "#6b8e5a" };

static double x_of(double ratio)
{
	if (ratio > SCALE)
		ratio = SCALE;
	return LEFT + ratio / SCALE * WIDTH;
}

static bool charted(const struct report *r, const struct row *row)
{
	struct verdict v;

	return row->placement == ONE_CPU && row->queues == 1 && !row->cold &&
	       strcmp(row->fs, r->row[0].fs) == 0 && judge(r, row, CPU, &v);
}

static void draw_mark(FILE *f, double ratio, double y, double height,
		      const char *stroke)
{
	fprintf(f, "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' "
		   "stroke='%s' stroke-width='2'/>\n",
		x_of(ratio), x_of(ratio), y - 2, y + height + 2, stroke);
}

static double draw_row(FILE *f, const struct report *r,
		       const struct row *row, double y)
{
	double height = (double)r->nr_servers * BAR, best;
	struct verdict verdict;

	judge(r, row, CPU, &verdict);
	best = row->median[verdict.peer].cpu_us;

	fprintf(f, "<text x='%d' y='%.1f' text-anchor='end'>%s ×%u</text>\n",
		LEFT - 8, y + height / 2 + 4, row->work->name, row->depth);
	for (unsigned int c = 0; c < r->nr_servers; c++) {
		double v = row->median[c].cpu_us;

		if (row->median[c].ops_s <= 0)
			continue;
		fprintf(f, "<rect x='%d' y='%.1f' width='%.1f' height='%d' "
			   "fill='%s'/>\n<text x='%.1f' y='%.1f' "
			   "class='n'>%.2f µs</text>\n",
			LEFT, y + c * BAR, x_of(v / best) - LEFT, BAR - 1,
			colour[c % ARRAY_LEN(colour)], x_of(v / best) + 3,
			y + c * BAR + 7.5, v);
	}
	if (verdict.goal > 0)
		draw_mark(f, verdict.goal, y, height, "#111");
	if (r->nr_contenders == r->nr_servers + FLOOR_COUNT)
		draw_mark(f, row->median[r->nr_servers + FLOOR_BATCH].cpu_us /
			  best, y, height, "#3a3");
	return y + height + GAP;
}

static void draw_legend(FILE *f, const struct report *r)
{
	double x = LEFT;

	for (unsigned int c = 0; c < r->nr_servers; c++) {
		fprintf(f, "<rect x='%.0f' y='38' width='12' height='12' "
			   "fill='%s'/><text x='%.0f' y='48'>%s</text>\n",
			x, colour[c % ARRAY_LEN(colour)], x + 16, r->name[c]);
		x += 110;
	}
	fprintf(f, "<line x1='%.0f' x2='%.0f' y1='38' y2='50' stroke='#111' "
		   "stroke-width='2'/><text x='%.0f' y='48'>goal</text>\n",
		x, x, x + 6);
	x += 60;
	fprintf(f, "<line x1='%.0f' x2='%.0f' y1='38' y2='50' stroke='#3a3' "
		   "stroke-width='2'/><text x='%.0f' y='48'>floor (batch)"
		   "</text>\n", x, x, x + 6);
}

int chart_write(const struct report *r, const char *path)
{
	unsigned int rows = 0;
	double y = TOP, bottom;
	FILE *f;

	for (unsigned int i = 0; i < r->nr_rows; i++)
		rows += charted(r, &r->row[i]);
	f = fopen(path, "we");
	if (!f)
		return -errno;
	bottom = TOP + rows * ((double)r->nr_servers * BAR + GAP);
	fprintf(f, "<svg xmlns='http://www.w3.org/2000/svg' width='%d' "
		   "height='%.0f' font-family='sans-serif' font-size='12'>\n"
		   "<style>.n{font-size:9px;fill:#444}</style>\n"
		   "<rect width='100%%' height='100%%' fill='#fff'/>\n"
		   "<text x='%d' y='24' font-size='15'>Server CPU an "
		   "operation, best peer = 1 (%s, one CPU; shorter is better)"
		   "</text>\n", LEFT + WIDTH + 90, bottom + 30, LEFT,
		rows ? r->row[0].fs : "");
	draw_legend(f, r);
	for (int i = 0; i <= 8; i++) {
		double v = i * 0.2;

		fprintf(f, "<line x1='%.1f' x2='%.1f' y1='%d' y2='%.0f' "
			   "stroke='%s'/><text x='%.1f' y='%.0f' class='n' "
			   "text-anchor='middle'>%.1f</text>\n",
			x_of(v), x_of(v), TOP - 6, bottom,
			i == 5 ? "#888" : "#e4e4e4", x_of(v),
			bottom + 14, v);
	}
	for (unsigned int i = 0; i < r->nr_rows; i++)
		if (charted(r, &r->row[i]))
			y = draw_row(f, r, &r->row[i], y);
	fprintf(f, "</svg>\n");
	return fclose(f) != 0 ? -errno : 0;
}
