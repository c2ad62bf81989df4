/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_ATTACK_RIG_H
#define VMSHARE_TESTS_ATTACK_RIG_H

/*
 * A guest with raw access to its rings against the program as it is used:
 * `vmshare serve` in each way to be shut in, as root and as an ordinary user.
 * Beside the share lies what must not be reached, with a secret in it.
 */

#include "tests/c/attempts.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#define USER	"12345"		/* an ordinary one, nobody's */

struct mode {
	const char *name, *options;
	bool user;
};

/* Without namespaces the first two layers are the boundary: both are tried. */
static const struct mode modes[] = {
	{ "namespaces, root", "sandbox=namespace", false },
	{ "chroot, root", "sandbox=chroot", false },
	{ "no sandbox, root", "sandbox=none", false },
	{ "namespaces, user", "sandbox=namespace,access=squash", true },
	{ "no sandbox, user", "sandbox=none,access=squash", true },
	{ "mapped, user", "sandbox=namespace,access=mapped", true },
};

static struct fe_server server;
static const struct mode *mode;	/* of in_all_modes() */
static char top[64], share[96], outside[96];
static bool as_user;		/* is the server one */
static bool once;		/* shall it end with its connection */

static inline int sh(const char *command)
{
	char line[8192];

	snprintf(line, sizeof(line), "cd %s && { %s; }", top, command);
	return system(line);
}

/* The share is $top/share; whom it belongs to is the caller's of the server. */
static inline int make_place(bool user)
{
	snprintf(top, sizeof(top), "/var/tmp/vmshare-attack.XXXXXX");
	if (!mkdtemp(top) || chmod(top, 0755))
		return -errno;
	snprintf(share, sizeof(share), "%s/share", top);
	snprintf(outside, sizeof(outside), "%s/outside", top);
	as_user = user || geteuid();
	return sh("umask 022 && mkdir -p share/dir outside/dir && "
		  "echo good >share/good && echo good >share/dir/f && "
		  "echo '" SECRET "' | tee outside/f >outside/dir/f && "
		  "echo '" SECRET "' >outside/secret") ||
	       (user && !geteuid() &&
		sh("chown -hR " USER ":" USER " share outside")) ? -EIO : 0;
}

/* @words: in front of the program's name, ended by NULL; or NULL */
static inline int serve(const char *options, const char *const *words)
{
	static const char *const setpriv[] = {
		"setpriv", "--reuid=" USER, "--regid=" USER, "--clear-groups",
		NULL,
	};
	const char *own = getenv("VMSHARE"), *argv[24];
	struct fe_opts opts = {
		.queues = 2, .timeout_ms = 60000,
		.pf_mask = VHU_PF_MQ | VHU_PF_REPLY_ACK | VHU_PF_RESET_DEVICE |
			   VHU_PF_MEM_SLOTS | VHU_PF_INFLIGHT_SHMFD,
	};
	char text[256];
	int n = 0, err;

	if (!words && as_user && !geteuid())
		words = setpriv;
	while (words && *words)
		argv[n++] = *words++;
	argv[n++] = own ? own : "./vmshare";
	argv[n++] = "serve";
	argv[n++] = "--fd={fd}";
	if (once)
		argv[n++] = "--once";
	argv[n++] = "--share";
	snprintf(text, sizeof(text), "%s:t,xattr,%s", share, options);
	argv[n++] = text;
	argv[n] = NULL;
	err = fe_server_start(&server, argv, true);
	if (err)
		return err;
	opts.path = server.path;
	err = fe_connect(&fe, &opts);
	return err ? err : fe_fuse_init(fe, 0);
}

/* Is it still there, and as it was before? */
static inline bool unharmed(void)
{
	struct fuse_attr_out a;

	return !fe_getattr(fe, ROOT, &a) &&
	       !sh("test $(find outside | wc -l) = 5 && "
		   "test $(cat outside/f outside/dir/f outside/secret | "
		   "grep -c '^" SECRET "$') = 3");
}

static inline void shut(void)
{
	char command[96];

	fe_close(fe);
	fe = NULL;
	fe_server_stop(&server);
	snprintf(command, sizeof(command), "rm -rf %s", top);
	if (top[0] && system(command))
		printf("# could not remove %s\n", top);
	top[0] = '\0';
}

/*
 * Run @attack in every mode, with @more options; it tells what failed by
 * check_failed.
 */
static inline void in_all_modes_with(void (*attack)(void), const char *more)
{
	for (size_t i = 0; i < ARRAY_LEN(modes) && !check_failed; i++) {
		const struct mode *m = mode = &modes[i];
		char options[128];
		int err;

		if (!m->user && geteuid())
			continue;
		snprintf(options, sizeof(options), "%s%s", m->options, more);
		err = make_place(m->user);
		if (!err)
			err = serve(options, NULL);
		if (err) {
			printf("# %s: does not serve: %d\n", m->name, err);
			check_failed = 1;
		} else {
			attack();
		}
		if (!check_failed && !unharmed()) {
			printf("# what lies outside has changed\n");
			check_failed = 1;
		}
		if (check_failed)
			printf("# %s\n", m->name);
		shut();
	}
}

static inline void in_all_modes(void (*attack)(void))
{
	in_all_modes_with(attack, "");
}

#endif
