/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_TESTS_FE_SERVER_H
#define VMSHARE_TESTS_FE_SERVER_H

/*
 * Starts a virtiofs server as a child and hands it a listening socket
 * ("--fd=N"), as libvirt does, so that there is nothing to wait for: a
 * connection is queued until the server accepts it.
 */

#include <stdbool.h>
#include <sys/types.h>

#define FE_VIRTIOFSD "/usr/lib/qemu/virtiofsd"

struct fe_server {
	pid_t pid;
	char dir[64];		/* temporary, holds the socket */
	char path[96];		/* the socket */
};

/**
 * fe_server_start() - start @argv with a listening socket
 * @s:		filled in
 * @argv:	program and arguments; an argument "{fd}" within one is replaced
 *		by the listening descriptor's number, "{path}" by the path
 * @listen_self:	false: the server itself makes the socket {path}
 *
 * The child dies with this process. Its stderr goes to $FE_SERVER_LOG, or to
 * /dev/null.
 */
int fe_server_start(struct fe_server *s, const char *const *argv,
		    bool listen_self);
/* SIGTERM, then after 5 s SIGKILL; removes the socket. The wait status. */
int fe_server_stop(struct fe_server *s);
/* vmshare[:OPTION], or a path of one: *@option is that of its share, or "". */
bool fe_server_is_own(const char *name, const char **option);

/** fe_server_command() - argv for a known server
 * @name:	"vmshare[:OPTION]" (./vmshare or $VMSHARE) or the absolute path
 *		of one, "virtiofsd" (the C one), "rust" (virtiofsd in Rust,
 *		$RUST_VIRTIOFSD)
 * @dir:	what to share
 * @argv:	12 pointers; @text: room for the words made here
 *
 * Return: 0, -ENOENT when it is not installed, -EINVAL for no known name,
 * -ENAMETOOLONG.
 */
int fe_server_command(const char *name, const char *dir, const char **argv,
		      char *text, size_t size);

#endif
