/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_FSSERVER_HANDLE_H
#define VMSHARE_FSSERVER_HANDLE_H

/*
 * Open files and directories. See handle.c.
 */

#include "fsserver/internal.h"

#include <pthread.h>

#define DIR_BUFFER (32 * 1024)

/* A directory being read. What is behind `pos` was not given out yet. */
struct fs_dir {
	pthread_mutex_t lock;	/* all of this, and the file's position */
	uint64_t next;		/* offset that the guest asks for next */
	size_t pos, len;	/* in buf */
	bool primed;		/* the file's position fits to the buffer */
	_Alignas(8) char buf[DIR_BUFFER];
};

enum handle_flag {
	HANDLE_RELEASED	= 1,	/* its base pin is gone */
	HANDLE_SLOW	= 2,	/* the file system knows no RWF_NOWAIT */
	HANDLE_APPEND	= 4,	/* was opened with O_APPEND */
};

int handles_open(struct fs *fs);
void handles_close(struct fs *fs);
void handles_drop_all(struct fs *fs);
/**
 * handle_add() - give the guest a number for an open file
 * @fd:		already charged with fd_charge(); the handle's from now on
 * @flags:	enum handle_flag
 */
int handle_add(struct fs_worker *w, struct fs_node *node, int fd,
	       uint32_t flags, uint64_t *fh);
/* A handle that the guest never heard of, if there is such a one. */
void handle_undo(struct fs *fs, uint64_t fh);
/* A node by what the guest has it open by: an O_PATH descriptor, or -ESTALE. */
int handles_open_node(struct fs *fs, const struct fs_node *node);
int handles_mark(struct arena *arena, void (*mark)(void *ctx, int fd),
		 void *ctx);
/* The first call of all ends it: true. The caller has it pinned. */
bool handle_release(struct fs_worker *w, struct fs_handle *handle);
uint32_t handle_flags(const struct fs_handle *handle);
void handle_flag(struct fs_handle *handle, uint32_t flag);
/* The buffer of a directory, locked; NULL when there are too many. */
struct fs_dir *handle_dir(struct fs *fs, struct fs_handle *handle);

#endif
