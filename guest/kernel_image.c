/* SPDX-License-Identifier: MIT */
/*
 * What a kernel's image says of itself: for which machine it is, and what
 * uname -r will be.
 *
 *	x86	a boot sector with "HdrS" at 0x202; the offset of its version at
 *		0x20e, counted from 0x200 (Documentation/arch/x86/boot.rst)
 *	arm64	"ARM\x64" at 56 (Documentation/arch/arm64/booting.rst), or
 *		packed: gzip, or an EFI program with "zimg" at 4
 *	ELF	as it says; QEMU starts one on x86 that has a PVH note
 *
 * In those that are not packed the version is looked for in the text that the
 * kernel greets with. What no line above has is for arm64 left to QEMU, which
 * loads any file there.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/private.h"

#define KERNEL_HEAD	1024	/* boot sector and set-up header */
#define X86_MAGIC	0x202
#define X86_VERSION	0x20e
#define ARM64_MAGIC	56

#define X86	"x86_64"
#define ARM64	"aarch64"

#if defined(__aarch64__)
const char guest_host_arch[] = ARM64;
#else
const char guest_host_arch[] = X86;
#endif

/* ELF machines that are known here; NULL: another's. */
static const char *elf_arch(unsigned int machine)
{
	return machine == EM_X86_64  ? X86 :
	       machine == EM_AARCH64 ? ARM64 : NULL;
}

const char *elf_file_arch(const unsigned char head[20])
{
	if (memcmp(head, ELFMAG, SELFMAG) != 0 ||
	    head[EI_CLASS] != ELFCLASS64 || head[EI_DATA] != ELFDATA2LSB)
		return NULL;
	return elf_arch(head[18] | (unsigned int)head[19] << 8);
}

/* For which machine; "" where nothing says so, NULL where something else. */
static const char *image_arch(const unsigned char *head)
{
	if (memcmp(head + X86_MAGIC, "HdrS", 4) == 0)
		return X86;
	if (memcmp(head + ARM64_MAGIC, "ARM\x64", 4) == 0)
		return ARM64;
	if (memcmp(head, ELFMAG, SELFMAG) == 0)
		return elf_file_arch(head);
	if (memcmp(head, "\x1f\x8b", 2) == 0 ||
	    memcmp(head, "MZ\0\0zimg", 8) == 0)
		return ARM64;	/* x86 has no such images */
	return "";
}

static void take_version(const char *text, size_t len, char *version,
			 size_t size)
{
	size_t n = 0;

	while (n < len && text[n] && text[n] != ' ' && text[n] != '\n')
		n++;
	if (n == len || n >= size || memchr(text, '/', n))
		return;
	memcpy(version, text, n);
	version[n] = '\0';
}

/* "Linux version 6.12.1 (who@where) ..." somewhere in it. */
static void find_greeting(int fd, char *version, size_t size)
{
	static const char greeting[] = "Linux version ";
	const size_t skip = sizeof(greeting) - 1;
	const char *map, *at;
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size <= 0)
		return;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return;
	/* Not the format of it, which is "Linux version %s". */
	for (at = map; at && !version[0]; at++) {
		at = memmem(at, (size_t)(map + st.st_size - at), greeting,
			    skip);
		if (!at)
			break;
		if (at[skip] >= '0' && at[skip] <= '9')
			take_version(at + skip,
				     (size_t)(map + st.st_size - at) - skip,
				     version, size);
	}
	munmap((void *)(uintptr_t)map, (size_t)st.st_size);
}

static void find_version(int fd, const unsigned char *head, const char *arch,
			 char *version, size_t size)
{
	bool packed = memcmp(head, "\x1f\x8b", 2) == 0 ||
		      memcmp(head + 4, "zimg", 4) == 0;
	size_t at = (size_t)head[X86_VERSION + 1] << 8 | head[X86_VERSION];
	char text[256];
	ssize_t n = 0;

	if (memcmp(head, ELFMAG, SELFMAG) == 0 ||
	    (strcmp(arch, ARM64) == 0 && !packed))
		find_greeting(fd, version, size);
	else if (strcmp(arch, X86) == 0 && at)
		n = pread(fd, text, sizeof(text), (off_t)at + 0x200);
	if (n > 0)
		take_version(text, (size_t)n, version, size);
}

int kernel_image_read(const char *image, const char *arch, char *version,
		      size_t size, const char **other)
{
	unsigned char head[KERNEL_HEAD] = { 0 };
	int fd = open(image, O_RDONLY | O_CLOEXEC), ret = 0;
	const char *is;
	ssize_t n;

	version[0] = '\0';
	*other = NULL;
	if (fd < 0)
		return -errno;
	n = pread(fd, head, sizeof(head), 0);
	if (n < 0)
		ret = -errno;
	else if (n < (ssize_t)sizeof(head))
		ret = -ENOEXEC;
	if (ret < 0) {
		close(fd);
		return ret;
	}
	is = image_arch(head);
	if (!is || (!*is && strcmp(arch, ARM64) != 0)) {
		ret = -ENOEXEC;
	} else if (*is && strcmp(is, arch) != 0) {
		*other = is;
		ret = -ENOEXEC;
	} else {
		find_version(fd, head, is, version, size);
	}
	close(fd);
	return ret;
}
