/* SPDX-License-Identifier: MIT */
/*
 * What is in files: writing, appending, truncating, holes and other ranges,
 * files without a name, shared and private mappings, running programs.
 */

#include "tests/posix/posix.h"

#include <linux/falloc.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>

static void data_append(void)
{
	int fd = open("f", O_WRONLY | O_APPEND | O_CLOEXEC);
	int other = open("f", O_WRONLY | O_APPEND | O_CLOEXEC);

	must("f", fd);
	must("f", other);
	must("ftruncate", ftruncate(fd, 0));
	IS("append", write(fd, "one", 3), 3);
	IS("append by another", write(other, "two", 3), 3);
	IS("append again", write(fd, "three", 5), 5);
	case_text("in order", text_of("f"), "onetwothree");
	must("lseek", lseek(fd, 0, SEEK_SET));
	IS("a position does not matter", write(fd, "!", 1), 1);
	case_text("it goes to the end", text_of("f"), "onetwothree!");
	WORKS("appending can be switched off",
	      fcntl(fd, F_SETFL, 0));
	IS("then the position counts", pwrite(fd, "O", 1, 0), 1);
	case_text("there", text_of("f"), "Onetwothree!");
	close(other);
	close(fd);
}

void group_data(void)
{
	int fd = make_file("f", 0644), ro;
	char buf[8192];
	struct stat st;

	IS("write", write(fd, "hello", 5), 5);
	IS("pwrite beyond the end", pwrite(fd, "!", 1, 10000), 1);
	IS("makes it so long", stat_of("f").st_size, 10001);
	IS("pread of the hole", pread(fd, buf, sizeof(buf), 5), 8192);
	IS("is zeros", buf[0] | buf[5000], 0);
	IS("pread at the end", pread(fd, buf, 10, 10001), 0);
	IS("pread over the end", pread(fd, buf, 10, 10000), 1);
	FAILS("pread at a negative offset", EINVAL, pread(fd, buf, 1, -1));
	FAILS("write beyond every end", EFBIG,
	      pwrite(fd, "x", 1, LLONG_MAX - 1));
	WORKS("ftruncate to less", ftruncate(fd, 3));
	IS("size", stat_of("f").st_size, 3);
	WORKS("ftruncate to more", ftruncate(fd, 100));
	IS("zeros behind", pread(fd, buf, 100, 0), 100);
	IS("and not what was there", buf[3] | buf[4], 0);
	FAILS("ftruncate to a negative size", EINVAL, ftruncate(fd, -1));
	FAILS("truncate of a directory", EISDIR, truncate(".", 0));
	FAILS("truncate of nothing", ENOENT, truncate("none", 0));
	ro = open("f", O_RDONLY | O_CLOEXEC);
	FAILS("write to what is open to read", EBADF, write(ro, "x", 1));
	FAILS("ftruncate of what is open to read", EINVAL, ftruncate(ro, 0));
	close(ro);
	ro = open("f", O_WRONLY | O_CLOEXEC);
	FAILS("read of what is open to write", EBADF, read(ro, buf, 1));
	close(ro);
	ro = open(".", O_RDONLY | O_CLOEXEC);
	FAILS("read of a directory", EISDIR, read(ro, buf, 1));
	close(ro);
	WORKS("fsync", fsync(fd));
	WORKS("fdatasync", fdatasync(fd));
	WORKS("O_SYNC", ro = open("f", O_WRONLY | O_SYNC | O_CLOEXEC));
	IS("writes", write(ro, "x", 1), 1);
	close(ro);
	must("unlink", unlink("f"));
	must("fstat", fstat(fd, &st));
	IS("links of what was removed", st.st_nlink, 0);
	IS("which can be written", pwrite(fd, "gone", 4, 0), 4);
	IS("and read", pread(fd, buf, 4, 0), 4);
	WORKS("and truncated", ftruncate(fd, 1));
	close(fd);
	close(make_file("f", 0644));
	data_append();
}

static void range_copy(void)
{
	int from = open("f", O_RDONLY | O_CLOEXEC);
	int to = make_file("copy", 0644);
	loff_t in = 0, out = 100;
	char c;

	must("f", from);
	IS("copy_file_range",
	   copy_file_range(from, &in, to, &out, 5000, 0), 5000);
	IS("moves its offsets", in + out, 10100);
	IS("what was copied", pread(to, &c, 1, 100 + 4096) == 1 ? c : -1, 'b');
	in = out = 0;
	FAILS("copy_file_range within overlapping bytes", EINVAL,
	      copy_file_range(to, &in, to, &out, 100, 0));
	in = 1 << 30;
	IS("copy_file_range at the end",
	   copy_file_range(from, &in, to, &out, 100, 0), 0);
	FAILS("copy_file_range with flags", EINVAL,
	      copy_file_range(from, NULL, to, NULL, 1, 1));
	FAILS("copy_file_range to what is open to read", EBADF,
	      copy_file_range(to, NULL, from, NULL, 1, 0));
	in = 0;
	IS("sendfile", sendfile(to, from, &in, 4096), 4096);
	close(to);
	close(from);
}

void group_range(void)
{
	int fd = make_file("f", 0644);
	char buf[4096], c;

	memset(buf, 'b', sizeof(buf));
	for (int i = 0; i < 4; i++)
		must("write", pwrite(fd, buf, sizeof(buf), i * 4096));
	IS("data at the start", lseek(fd, 0, SEEK_DATA), 0);
	IS("the hole at the end", lseek(fd, 0, SEEK_HOLE), 16384);
	FAILS("data beyond the end", ENXIO, lseek(fd, 16384, SEEK_DATA));
	FAILS("a hole beyond the end", ENXIO, lseek(fd, 20000, SEEK_HOLE));
	WORKS("punch a hole", fallocate(fd, FALLOC_FL_PUNCH_HOLE |
					FALLOC_FL_KEEP_SIZE, 4096, 4096));
	IS("it is found", lseek(fd, 0, SEEK_HOLE), 4096);
	IS("and its end", lseek(fd, 4096, SEEK_DATA), 8192);
	IS("it reads as zero", pread(fd, &c, 1, 5000) == 1 ? c : -1, 0);
	IS("the size stays", stat_of("f").st_size, 16384);
	WORKS("zero a range", fallocate(fd, FALLOC_FL_ZERO_RANGE, 12288, 100));
	IS("zero there", pread(fd, &c, 1, 12300) == 1 ? c : -1, 0);
	IS("and not behind", pread(fd, &c, 1, 12388) == 1 ? c : -1, 'b');
	WORKS("allocate more", fallocate(fd, 0, 0, 40000));
	IS("makes it so long", stat_of("f").st_size, 40000);
	WORKS("allocate and keep the size",
	      fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100000));
	IS("keeps it", stat_of("f").st_size, 40000);
	IS("but has blocks", stat_of("f").st_blocks * 512 >= 100000, 1);
	FAILS("punch without keeping the size", EOPNOTSUPP,
	      fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
	FAILS("allocate nothing", EINVAL, fallocate(fd, 0, 0, 0));
	FAILS("allocate at a negative offset", EINVAL,
	      fallocate(fd, 0, -1, 10));
	WORKS("collapse a range",
	      fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
	WORKS("insert a range",
	      fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096));
	close(fd);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	FAILS("allocate in what is open to read", EBADF,
	      fallocate(fd, 0, 0, 10));
	close(fd);
	must("unlink", unlink("f"));
	fd = make_file("f", 0644);
	for (int i = 0; i < 4; i++)
		must("write", pwrite(fd, buf, sizeof(buf), i * 4096));
	close(fd);
	range_copy();
}

void group_unnamed(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
	char path[64], buf[4];
	struct stat st;

	WORKS("O_TMPFILE", fd);
	if (fd < 0)
		return;
	must("fstat", fstat(fd, &st));
	IS("has no links", st.st_nlink, 0);
	IS("and its mode", st.st_mode & 07777, 0640);
	IS("write", write(fd, "text", 4), 4);
	IS("read", pread(fd, buf, 4, 0), 4);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	WORKS("link", linkat(AT_FDCWD, path, AT_FDCWD, "named",
			     AT_SYMLINK_FOLLOW));
	IS("has one link", stat_of("named").st_nlink, 1);
	case_text("and its data", text_of("named"), "text");
	close(fd);
	fd = open(".", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0640);
	must("O_TMPFILE", fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	FAILS("link of an exclusive one", ENOENT,
	      linkat(AT_FDCWD, path, AT_FDCWD, "no", AT_SYMLINK_FOLLOW));
	close(fd);
	FAILS("O_TMPFILE to read", EINVAL,
	      open(".", O_TMPFILE | O_RDONLY, 0640));
	FAILS("O_TMPFILE in a file", ENOTDIR,
	      open("named", O_TMPFILE | O_RDWR, 0640));
}

/* The time of access may change too: a page may have to be read first. */
static void map_times(char *shared)
{
	struct stat before = times_begin("f"), after;

	shared[3] = 'T';
	must("msync", msync(shared, 8192, MS_SYNC));
	after = stat_of("f");
	IS("a shared write changes the time of it",
	   before.st_mtim.tv_sec != after.st_mtim.tv_sec ||
	   before.st_mtim.tv_nsec != after.st_mtim.tv_nsec, 1);
	IS("and that of changes",
	   before.st_ctim.tv_sec != after.st_ctim.tv_sec ||
	   before.st_ctim.tv_nsec != after.st_ctim.tv_nsec, 1);
}

void group_map(void)
{
	int fd = make_file("f", 0644);
	char *shared, *private, buf[8];

	must("write", write(fd, "original", 8));
	shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	IS("map shared", shared != MAP_FAILED, 1);
	private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	IS("map private", private != MAP_FAILED, 1);
	if (shared == MAP_FAILED || private == MAP_FAILED)
		return;
	IS("the file's bytes", memcmp(shared, "original", 8), 0);
	memcpy(private, "P", 1);
	memcpy(shared + 1, "S", 1);
	must("pread", pread(fd, buf, 8, 0));
	IS("a shared write is the file's", buf[1], 'S');
	IS("a private one is not", buf[0], 'o');
	must("pwrite", pwrite(fd, "W", 1, 2));
	IS("a write is the mapping's", shared[2], 'W');
	WORKS("msync", msync(shared, 8192, MS_SYNC));
	map_times(shared);
	IS("the size stays", stat_of("f").st_size, 8);
	must("ftruncate", ftruncate(fd, 2));
	must("ftruncate", ftruncate(fd, 8));
	IS("what was cut off is zero", shared[4], 0);
	munmap(shared, 8192);
	munmap(private, 8192);
	close(fd);
}

/* ---- programs ----------------------------------------------------------- */

static void copy_program(const char *to)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = make_file(to, 0755);
	char buf[65536];
	ssize_t n;

	must("open", from);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		must("write", write(fd, buf, (size_t)n));
	must("read", n);
	close(fd);
	close(from);
}

/* A program's exit status without arguments is 2; 1000 + errno of execve. */
static int run_program(const char *path)
{
	char *argv[] = { (char *)"posix", NULL }, *envp[] = { NULL };
	int pipes[2], status, error = 0;
	pid_t pid;

	must("pipe", pipe2(pipes, O_CLOEXEC));
	pid = fork();
	must("fork", pid);
	if (pid == 0) {
		int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(quiet, 2);
		execve(path, argv, envp);
		error = errno;
		_exit(write(pipes[1], &error, sizeof(error)) < 0);
	}
	close(pipes[1]);
	if (read(pipes[0], &error, sizeof(error)) < 0)
		error = errno;
	close(pipes[0]);
	must("waitpid", waitpid(pid, &status, 0));
	if (error)
		return 1000 + error;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Start the program and have it wait: the child maps it and sleeps. */
static pid_t sleeping_program(const char *path)
{
	char *argv[] = { (char *)"posix", (char *)"-s", NULL };
	pid_t pid = fork();

	must("fork", pid);
	if (pid == 0) {
		execv(path, argv);
		_exit(127);
	}
	usleep(300 * 1000);
	return pid;
}

void group_exec(void)
{
	int fd, status;
	pid_t pid;

	copy_program("prog");
	IS("run", run_program("./prog"), 2);
	fd = open("prog", O_WRONLY | O_CLOEXEC);
	IS("run what is open to write", run_program("./prog"),
	   1000 + ETXTBSY);
	close(fd);
	pid = sleeping_program("./prog");
	FAILS("write to what runs", ETXTBSY, open("prog", O_WRONLY));
	FAILS("truncate what runs", ETXTBSY, truncate("prog", 0));
	WORKS("remove what runs", unlink("prog"));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	put_file("data", 0644, "x");
	IS("run without permission", run_program("./data"), 1000 + EACCES);
	must("chmod", chmod("data", 0755));
	IS("run what is no program", run_program("./data"), 1000 + ENOEXEC);
	put_file("script", 0755, "#!/none/such\n");
	IS("run without an interpreter", run_program("./script"),
	   1000 + ENOENT);
	IS("run a directory", run_program("."), 1000 + EACCES);
	must("chmod", chmod("script", 0700));
	become(USER_A, GROUP_A, 0);
	IS("run another's", run_program("./script"), 1000 + EACCES);
	become_root();
}
