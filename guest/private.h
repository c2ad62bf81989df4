/* SPDX-License-Identifier: MIT */
#ifndef VMSHARE_GUEST_PRIVATE_H
#define VMSHARE_GUEST_PRIVATE_H

/* What the files of this room share with each other and with its test. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/guest.h"

/* ---- errors ------------------------------------------------------------- */

/* Fill @err (may be NULL) and return @error, a -errno, for a `return`. */
int guest_fail(struct guest_error *err, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void guest_hint(struct guest_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Words for a -errno, safe in every libc. */
const char *guest_strerror(int error);

/* A whole file, NUL-terminated, for free(); 0 or -errno. */
int guest_read_file(const char *path, char **data, size_t *size);

/* ---- kernel images and programs ----------------------------------------- */

/**
 * kernel_image_read() - look at a kernel's image
 * @arch:	of the guest
 * @version:	set to what uname -r will say; "" where nothing says so
 * @other:	set to the architecture that it is for instead, or NULL
 *
 * Return: 0; -ENOEXEC: none, or another's; what open() says.
 */
int kernel_image_read(const char *image, const char *arch, char *version,
		      size_t size, const char **other);
/* The architecture of a program by its first bytes, or NULL. */
const char *elf_file_arch(const unsigned char head[20]);

/* ---- modules ------------------------------------------------------------ */

#define MODULE_GROUP_ALWAYS ""

struct guest_module {
	char *path;		/* relative to the modules directory */
	const char *group;	/* static: loaded when init needs that */
	bool optional;		/* may fail to load */
};

struct guest_modules {
	struct guest_module *list; /* in load order */
	unsigned int nr, room;
};

/* Which modules a spec needs, as bits. */
#define MODULE_FOR_ALL	1u
#define MODULE_FOR_FS	2u	/* a share */
#define MODULE_FOR_OVER	4u	/* an overlay */
#define MODULE_FOR_DISK	8u
#define MODULE_FOR_NET	16u
#define MODULE_FOR_DATA	32u	/* a disk that is not the root */
#define MODULE_FOR_DUMP	64u

/**
 * modules_resolve() - which files to load, in order
 * @dir:	with modules.dep and modules.builtin; and where they exist
 *		modules.softdep and modules.alias
 * @needs:	MODULE_FOR_*
 * @mods:	zero-initialised; for modules_free()
 * @err:	which module is missing
 *
 * Return: 0, -ENOENT where the kernel lacks one, other -errno of a file.
 */
int modules_resolve(const char *dir, unsigned int needs,
		    struct guest_modules *mods, struct guest_error *err);
void modules_free(struct guest_modules *mods);
/* "kernel/fs/fuse/virtio-fs.ko.xz" is "virtio_fs"; length, 0: no module. */
size_t module_name(const char *path, size_t len, char *name, size_t size);
bool module_compressed(const char *path);

/* ---- cpio: the "newc" form that the kernel unpacks ---------------------- */

struct cpio {
	int fd;
	uint64_t off;
	uint32_t ino;
	int error;		/* first -errno; all later calls do nothing */
};

void cpio_open(struct cpio *c, int fd);
void cpio_dir(struct cpio *c, const char *name);
void cpio_device(struct cpio *c, const char *name, uint32_t mode,
		 unsigned int major, unsigned int minor);
void cpio_memory(struct cpio *c, const char *name, uint32_t mode,
		 const void *data, size_t size);
/* The whole regular file @src. */
void cpio_copy(struct cpio *c, const char *name, uint32_t mode, int src);
int cpio_close(struct cpio *c);

/* ---- spec: from the host's memory to the guest's ------------------------ */

/* A spec as init finds it: decoded in place, freed with the file's bytes. */
struct guest_plan {
	struct guest_spec spec;
	struct guest_module *modules; /* path is absolute in the initramfs */
	unsigned int nr_modules;
	struct guest_mount *mounts;
	const char **argv, **env;
};

/* Encode into malloc'ed @data. 0, -ENOMEM. */
int spec_encode(const struct guest_spec *spec, const struct guest_modules *mods,
		char **data, size_t *size);
/* Decode; @data must stay, and is changed. 0, -EINVAL, -ENOMEM. */
int spec_decode(char *data, size_t size, struct guest_plan *plan);
void spec_free(struct guest_plan *plan);

/* ---- control port ------------------------------------------------------- */

enum guest_frame_type {
	/* from init */
	FRAME_READY = 1,	/* count[0]: guest's clock */
	FRAME_RUNNING,		/* count[0]: guest's clock */
	FRAME_IN_CLOSED,	/* the command reads no more */
	FRAME_EXITED,		/* code: status; count: bytes in, out, err */
	FRAME_DONE,
	FRAME_FAILED,		/* code: errno; text */
	/* to init */
	FRAME_IN_END = 64,	/* count[0]: all bytes there will be */
	FRAME_OUT_CLOSED,	/* code: GUEST_PORT_OUT or _ERR has no reader */
	FRAME_CONFIRM,		/* count[1], [2]: bytes of out, err arrived */
	FRAME_RESIZE,		/* code: rows << 16 | cols */
	FRAME_SIGNAL,		/* code */
};

/* The only message there is: of one size, little endian on both sides (where
 * the guest is of another architecture, too). */
struct guest_frame {
	uint32_t type;
	uint32_t code;
	uint64_t count[3];
	char text[128];
};

#define GUEST_CHUNK 65536	/* a stream's buffer, on each side */

#endif
