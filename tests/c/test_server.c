/* rooms: base memback guest launch vhostuser fsserver server.c */
/* SPDX-License-Identifier: MIT */
/*
 * A share's configuration in the file server's words: whatever word an option
 * takes means something to it, and no two of them mean the same.
 */

#include "tests/c/launch_rig.h"

#include "launch/config/options.h"
#include "server.h"

#define MAX_CHOICES 8

/* What the file server makes of KEY=WORD; the tag is of every case. */
static void options_of(const char *key, const char *word,
		       struct fs_options *out)
{
	struct server sv;
	char line[128];

	snprintf(line, sizeof(line), "serve --socket s -s /a:t,%s=%s", key,
		 word);
	CHECK_EQ(parse(line), 0);
	server_setup(&sv, &c.shares[0]);
	*out = sv.options;
	out->name = out->dir = NULL;
	config_free(&c);
}

static void one_option(const struct cfg_key *key)
{
	static struct fs_options of[MAX_CHOICES];
	char words[128], *save, *word;
	unsigned int n = 0;

	snprintf(words, sizeof(words), "%s", key->arg);
	for (word = strtok_r(words, "|", &save); word;
	     word = strtok_r(NULL, "|", &save), n++) {
		CHECK(n < MAX_CHOICES);
		options_of(key->name, word, &of[n]);
		for (unsigned int i = 0; i < n; i++) {
			if (memcmp(&of[i], &of[n], sizeof(of[n])) == 0)
				printf("# %s=%s: no other than number %u\n",
				       key->name, word, i);
			CHECK(memcmp(&of[i], &of[n], sizeof(of[n])) != 0);
		}
	}
	CHECK(n > 1);
}

static void words_of_options(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < cfg_nr_keys && !check_failed; i++) {
		if (!(cfg_keys[i].scope & CFG_SHARE) ||
		    cfg_keys[i].parse != opt_choice)
			continue;
		one_option(&cfg_keys[i]);
		n++;
	}
	CHECK_EQ(n, 4);
}

static void owners(void)
{
	struct fs_options o;

	options_of("squash", "5:6", &o);
	CHECK_EQ(o.access, FS_ACCESS_SQUASH);
	CHECK_EQ(o.squash_uid, 5);
	CHECK_EQ(o.squash_gid, 6);
	options_of("uid-map", "host:1:2:3", &o);
	CHECK_EQ(o.access, FS_ACCESS_PASSTHROUGH);
	CHECK_EQ(o.uid_map.nr, 1);
	CHECK_EQ(o.uid_map.range[0].host, 1);
	CHECK_EQ(o.gid_map.nr, 0);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{ "each word of an option means something else",
		  words_of_options },
		{ "options about owners", owners },
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
