/* SPDX-License-Identifier: MIT */
/*
 * What is wrong with a configuration or a host: a list that checks and the
 * probe of QEMU add to, in order, and that is printed as a whole. What does not
 * fit is dropped: nobody reads that many.
 */

#include "launch/common/common.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void findings_init(struct findings *found)
{
	found->count = found->nr_layers = 0;
}

void findings_add(struct findings *found, int status, const char *hint,
		  const char *fmt, ...)
{
	struct finding *f;
	va_list ap;

	if (found->count == ARRAY_SIZE(found->list))
		return;
	f = &found->list[found->count++];
	f->fatal = status != 0;
	f->status = status;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	snprintf(f->hint, sizeof(f->hint), "%s", hint);
}

void findings_layer(struct findings *found, const char *tag,
		    const struct confinement *layer)
{
	struct confinement *l;

	if (found->nr_layers == ARRAY_SIZE(found->layers))
		return;
	l = &found->layers[found->nr_layers++];
	*l = *layer;
	l->tag = tag;
	if (!l->on)
		snprintf(l->why, sizeof(l->why), "%s%s%s",
			 l->off ? "switched off" :
			 l->step && l->step[0] ? l->step : "not available",
			 l->error ? ": " : "",
			 l->error ? strerror(l->error) : "");
	/* Not ours to keep. */
	l->step = NULL;
	if (!l->on && l->left)
		findings_add(found, 0, "", "share '%s' runs without %s (%s); "
			     "%s", tag, l->layer, l->why, l->left);
}
