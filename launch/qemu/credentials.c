/* SPDX-License-Identifier: MIT */
/*
 * What a self-booting guest reads about its mounts: the systemd credential
 * "fstab.extra" in an SMBIOS string of type 11. systemd reads it since version
 * 254; an older one, or another init, ignores it. The text travels in a memfd
 * and not on the command line, where its length and bytes would matter.
 */
#include "launch/qemu/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A field of fstab: blanks and backslashes as octal. */
static void put_field(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (strchr(" \t\n\\#", *text))
			fprintf(f, "\\%03o", (unsigned int)*text & 0xffu);
		else
			fputc(*text, f);
	}
	fputc(' ', f);
}

static bool put_fstab(FILE *f, const struct config *c)
{
	bool any = false;

	for (unsigned int i = 0; i < c->nr_shares; i++) {
		const struct share_config *s = &c->shares[i];

		if (!s->mount)
			continue;
		put_field(f, s->tag);
		put_field(f, s->mount);
		fprintf(f, "virtiofs %s,nofail 0 0\n", s->ro ? "ro" : "rw");
		any = true;
	}
	return any;
}

static void put_base64(FILE *f, const unsigned char *in, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		unsigned int v = (unsigned int)in[i] << 16;

		v |= i + 1 < len ? (unsigned int)in[i + 1] << 8 : 0;
		v |= i + 2 < len ? (unsigned int)in[i + 2] : 0;
		fputc(digits[v >> 18 & 63], f);
		fputc(digits[v >> 12 & 63], f);
		fputc(i + 1 < len ? digits[v >> 6 & 63] : '=', f);
		fputc(i + 2 < len ? digits[v & 63] : '=', f);
	}
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

int qemu_credentials(const struct config *c)
{
	char *fstab = NULL, *text = NULL;
	size_t fstab_len = 0, len = 0;
	int fd = -ENOMEM, err;
	bool any;
	FILE *f;

	if (c->own_init)
		return -ENOENT; /* our own init mounts them */
	f = open_memstream(&fstab, &fstab_len);
	if (!f)
		return -errno;
	any = put_fstab(f, c);
	fclose(f);
	f = any ? open_memstream(&text, &len) : NULL;
	if (!f) {
		fd = any ? -ENOMEM : -ENOENT;
		goto out;
	}
	fputs("io.systemd.credential.binary:fstab.extra=", f);
	put_base64(f, (const unsigned char *)fstab, fstab_len);
	fclose(f);
	fd = memfd_create("vmshare-credentials", MFD_CLOEXEC);
	if (fd < 0) {
		fd = -errno;
		goto out;
	}
	err = write_all(fd, text, len);
	if (!err && lseek(fd, 0, SEEK_SET) < 0)
		err = -errno;
	if (err) {
		close(fd);
		fd = err;
	}
out:
	free(text);
	free(fstab);
	return fd;
}
