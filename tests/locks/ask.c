/* SPDX-License-Identifier: MIT */
/*
 * One process asks for locks on a file, and says what it got.
 *
 *	ask FILE WORD...
 *
 * Each word is a lock, tried or (in capitals) waited for:
 *
 *	w W	fcntl, for writing, the whole file
 *	o O	the same, of the open file (F_OFD_SETLK)
 *	f F	flock, exclusive
 *	hold	wait for a line of standard input
 *	circle	a child has what this process waits for, and the other way;
 *		the last word, and on a file that it has no lock on
 *
 * Of each it prints the word and "ok" or the error's name; the end of the
 * process lets go of what it got. The status is 0 if all were.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

static int posix(int fd, int cmd, off_t start, off_t len)
{
	struct flock l = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET,
		.l_start = start, .l_len = len,
	};

	return fcntl(fd, cmd, &l);
}

/*
 * One byte each; who closes the circle must be told. The pipe says that the
 * child has its own, and it waits first: the last one is told.
 */
static int circle(int fd)
{
	int pipefd[2], err, saved;
	char told;
	pid_t pid;

	if (posix(fd, F_SETLK, 0, 1) || pipe(pipefd))
		return -1;
	pid = fork();
	if (pid < 0)
		return -1;
	if (!pid) {
		err = posix(fd, F_SETLK, 1, 1) || write(pipefd[1], "", 1) != 1;
		_exit(err || posix(fd, F_SETLKW, 0, 1));
	}
	close(pipefd[1]);
	err = read(pipefd[0], &told, 1) != 1;
	sleep(1);
	if (!err)
		err = posix(fd, F_SETLKW, 1, 1);
	saved = errno;
	close(fd);		/* lets the child go on */
	waitpid(pid, NULL, 0);
	errno = saved;
	return err;
}

static int one(int fd, const char *word)
{
	char line;

	if (!strcmp(word, "circle"))
		return circle(fd);
	if (!strcmp(word, "hold"))
		return read(0, &line, 1) < 0 ? -1 : 0;
	switch (word[1] ? 0 : word[0]) {
	case 'w':
		return posix(fd, F_SETLK, 0, 0);
	case 'W':
		return posix(fd, F_SETLKW, 0, 0);
	case 'o':
		return posix(fd, F_OFD_SETLK, 0, 0);
	case 'O':
		return posix(fd, F_OFD_SETLKW, 0, 0);
	case 'f':
		return flock(fd, LOCK_EX | LOCK_NB);
	case 'F':
		return flock(fd, LOCK_EX);
	}
	errno = EINVAL;
	return -1;
}

static const char *error_name(int err)
{
	switch (err) {
	case EAGAIN:
		return "EAGAIN";
	case EDEADLK:
		return "EDEADLK";
	case ENOLCK:
		return "ENOLCK";
	case EOPNOTSUPP:
		return "EOPNOTSUPP";
	}
	return strerror(err);
}

int main(int argc, char **argv)
{
	int fd, failed = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: ask FILE WORD...\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0) {
		perror(argv[1]);
		return 2;
	}
	for (int i = 2; i < argc; i++) {
		int err = one(fd, argv[i]);

		failed |= err != 0;
		printf("%s %s\n", argv[i], err ? error_name(errno) : "ok");
		fflush(stdout);
	}
	return failed;
}
