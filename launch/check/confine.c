/* SPDX-License-Identifier: MIT */
/*
 * What check prints about a share's confinement: which layers it would have,
 * why one would be missing, and what protects the host without it. The layers
 * are tried, by a process that confines itself as a server would, and ends. How
 * that is done is the file server's; here it is a function and names.
 */
#include "launch/check/private.h"

#include <stdio.h>

int check_confinement(const struct config *c, struct findings *found,
		      check_probe_fn *probe)
{
	int status = 0;

	for (unsigned int i = 0; i < c->nr_shares + c->has_root_share; i++) {
		const struct share_config *sc = i < c->nr_shares ?
			&c->shares[i] : &c->root_share;
		char why[512];

		if (sc->socket || probe(sc, found, why, sizeof(why)) == 0)
			continue;
		findings_add(found, EXIT_REFUSED, "", "share '%s': %s",
			     sc->tag, why);
		status = EXIT_REFUSED;
	}
	return status;
}

/* "share 'src' is confined by: checks of names, openat2, ..." */
void check_print_confinement(const struct findings *found)
{
	for (unsigned int i = 0; i < found->nr_layers;) {
		const char *tag = found->layers[i].tag;
		char line[256];
		int n = 0;

		for (; i < found->nr_layers && found->layers[i].tag == tag; i++)
			if (found->layers[i].on && n < (int)sizeof(line))
				n += snprintf(line + n, sizeof(line) -
					      (size_t)n, "%s%s", n ? ", " : "",
					      found->layers[i].layer);
		log_note("share '%s' is confined by: %s", tag, line);
	}
}

void check_put_confinement(const struct findings *found)
{
	for (unsigned int i = 0; i < found->nr_layers; i++) {
		const struct confinement *l = &found->layers[i];

		printf("%s{", i ? "," : "");
		json_put("share", l->tag);
		putchar(',');
		json_put("layer", l->layer);
		printf(",\"on\":%s,", l->on ? "true" : "false");
		json_put("why", l->why);
		putchar('}');
	}
}
