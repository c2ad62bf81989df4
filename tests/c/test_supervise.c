/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * The supervision without QEMU: a shell script stands in for it. What is
 * checked is what a user sees: exit status, the words on stderr, and that
 * nothing is left when vmshare is killed.
 */

#include "launch/run/supervise.h"
#include "tests/c/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char words[65536];	/* what a run said on stderr */

/* What the next run has, and no other: a share; a command, control port 7 */
static struct share *share;
static bool streams;

static int open_streams(struct supervise_setup *s, struct qemu_wiring *w)
{
	const struct guest_streams_config none = {-1, -1, -1, false};
	int err = guest_streams_open(&s->streams, &none, w->port_fds);

	if (err)
		return err;
	w->nr_ports = GUEST_PORTS;
	dup2(w->port_fds[GUEST_PORT_CONTROL], 7);
	close(w->port_fds[GUEST_PORT_CONTROL]);
	w->port_fds[GUEST_PORT_CONTROL] = 7;
	return 0;
}

/* Run @script as QEMU with @c; the exit status, and @words. */
static int run_next(struct config *c, char **argv)
{
	struct qemu_wiring w;
	struct supervise_setup s = {
		.config = c, .qemu_argv = argv, .wiring = &w,
		.qmp_fd = -1, .console_fd = -1,
		.shares = share, .nr_shares = share ? 1 : 0,
	};
	char path[] = "/tmp/test-supervise-XXXXXX";
	int file = mkstemp(path), saved = dup(STDERR_FILENO), status;
	ssize_t n;

	unlink(path);
	wiring_init(&w);
	dup2(file, 8);
	dup2(file, 9);
	prepare_socketpair(&s.qmp_fd, &w.qmp_fd);
	prepare_socketpair(&s.console_fd, &w.console_fd);
	/* At numbers that a script can name. */
	dup2(w.qmp_fd, 8);
	dup2(w.console_fd, 9);
	if (streams && open_streams(&s, &w))
		return -1;
	close(w.qmp_fd);
	close(w.console_fd);
	w.qmp_fd = 8;
	w.console_fd = 9;
	if (guardian_start(&s.guardian))
		return -1;
	dup2(file, STDERR_FILENO);
	status = supervise_run(&s);
	guest_streams_close(s.streams);
	dup2(saved, STDERR_FILENO);
	close(saved);
	guardian_end(s.guardian);
	n = pread(file, words, sizeof(words) - 1, 0);
	words[n < 0 ? 0 : n] = '\0';
	close(file);
	return status;
}

static int run_as(struct config *c, char **argv)
{
	int status = run_next(c, argv);

	share = NULL;
	streams = false;
	return status;
}

static void init_config(struct config *c)
{
	memset(c, 0, sizeof(*c));
	c->status_fd = c->ready_fd = c->listen_fd = -1;
	c->shutdown_timeout_ms = 300;
	c->console = "none";
}

static int run_script(struct config *c, const char *script)
{
	char *argv[] = {"/bin/sh", "-c", (char *)script, NULL};

	return run_as(c, argv);
}

/* A monitor that is up, in a shell's words. */
#define QMP_UP                                                                \
	"echo '{\"QMP\": {\"version\": {}}}' >&8; read x <&8; "               \
	"echo '{\"return\": {}}' >&8; "

static void orderly_end(void)
{
	struct config c;

	init_config(&c);
	CHECK_EQ(run_script(&c, QMP_UP "exit 0"), 0);
	CHECK_STR(words, "");
}

static void qemu_refuses(void)
{
	struct config c;

	init_config(&c);
	CHECK_EQ(run_script(&c, "echo no such thing >&2; exit 1"), 125);
	CHECK(strstr(words, "error: QEMU refused to start with status 1: "
			    "no such thing\n"));
}

static void qemu_fails_later(void)
{
	struct config c;

	init_config(&c);
	CHECK_EQ(run_script(&c, QMP_UP "echo 'bad \33[31m' ; sleep 0.1;"
				       "exit 3"), 122);
	CHECK(strstr(words, "QEMU failed with status 3: bad \\x1b[31m\n"));
}

static void qemu_killed(void)
{
	struct config c;

	init_config(&c);
	CHECK_EQ(run_script(&c, QMP_UP "kill -9 $$"), 122);
	CHECK(strstr(words, "QEMU was killed by signal 9"));
}

/* --dump: asked for when the guest panicked; what QEMU says of it counts. */
static void dumps(void)
{
	char path[] = "/tmp/test-dump-XXXXXX", script[640];
	struct config c;
	struct stat st;

	init_config(&c);
	close(mkstemp(path));
	unlink(path);
	c.dump = path;
	snprintf(script, sizeof(script), QMP_UP
		 "echo '{\"event\": \"GUEST_PANICKED\", \"data\": "
		 "{\"action\": \"pause\"}}' >&8; read x <&8; case $x in "
		 "*dump-guest-memory*file:%s*) echo core >%s;"
		 "echo '{\"return\": {}, \"id\": \"dump\"}' >&8;; esac;"
		 "exec sleep 60", path, path);
	CHECK_EQ(run_script(&c, script), 122);
	CHECK(strstr(words, "note: the guest's memory is in /tmp/test-dump"));
	CHECK(strstr(words, "(5 bytes)") || strstr(words, "(5 B)"));
	CHECK(strstr(words, "error: the guest's kernel panicked\n"));
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	unlink(path);
	CHECK_EQ(run_script(&c, QMP_UP
		"echo '{\"event\": \"GUEST_PANICKED\"}' >&8; read x <&8;"
		"echo '{\"id\": \"dump\", \"error\": {\"class\": \"x\", "
		"\"desc\": \"no \33 room\"}}' >&8; exec sleep 60"), 122);
	CHECK(strstr(words, ": no \\x1b room\n"));
	CHECK(stat(path, &st) < 0);
	/* One that reboots has not panicked, one that powers off has not. */
	CHECK_EQ(run_script(&c, QMP_UP
		"echo '{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, "
		"\"reason\": \"guest-reset\"}}' >&8; read x <&8;"
		"case $x in *quit*) exit 0; esac; exit 3"), 0);
	CHECK_STR(words, "");
	CHECK(stat(path, &st) < 0);
	CHECK_EQ(run_script(&c, QMP_UP
		"echo '{\"event\": \"GUEST_PANICKED\"}' >&8; read x <&8;"
		"exit 0"), 122);
	CHECK(strstr(words, ": QEMU ended before it was written\n"));
	CHECK_EQ(run_script(&c, "echo '{\"event\": \"GUEST_PANICKED\"}' >&8;"
		"exec sleep 60"), 122);
	CHECK(strstr(words, ": QEMU can't be asked: "));
	c.dump = "/nowhere/core";
	CHECK_EQ(run_script(&c, "exit 0"), EXIT_REFUSED);
	CHECK(strstr(words, "--dump /nowhere/core: No such file"));
}

static void guest_panics(void)
{
	struct config c;

	init_config(&c);
	CHECK_EQ(run_script(&c, QMP_UP
		"printf 'booting\\r\\nKernel panic: \\007 no\\r\\n' >&9;"
		"echo '{\"event\": \"GUEST_PANICKED\", \"data\": "
		"{\"action\": \"poweroff\"}}' >&8"), 122);
	CHECK(strstr(words, "error: the guest's kernel panicked\n"));
	CHECK(strstr(words, "    | Kernel panic: \\x07 no\n"));
}

static void timeout(void)
{
	struct config c;

	init_config(&c);
	c.timeout_ms = 200;
	CHECK_EQ(run_script(&c, "exec sleep 60"), 124);
	CHECK(strstr(words, "did not end within the timeout of 0.2 s"));
}

static void timeout_deaf(void)
{
	struct config c;

	init_config(&c);
	c.timeout_ms = 200;
	/* TERM is not enough for this one. */
	CHECK_EQ(run_script(&c, "trap '' TERM; while :; do sleep 1; done"),
		 124);
}

/* Neither the end nor the log is for QEMU to decide. */
static void endless_words(void)
{
	struct config c;
	int lines = 0;

	init_config(&c);
	c.timeout_ms = 300;
	log_setup(LOG_LEVEL_INFO, false);
	CHECK_EQ(run_script(&c, "exec yes"), 124);
	log_setup(LOG_LEVEL_NOTE, false);
	for (const char *s = words; (s = strstr(s, "qemu: y\n")); s++)
		lines++;
	CHECK(lines <= 1010);
}

/* What a worker tells when it finds the guest's memory private. */
static void memory_not_shared(void)
{
	struct share_config sc = {.tag = "src"};
	struct share s = {.config = &sc, .pidfd = -1, .relay = -1,
			  .dir = -1, .connected = true};
	struct config c;
	char event = SHARE_NOT_SHARED;
	int fds[2];

	init_config(&c);
	CHECK_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	CHECK_EQ(write(fds[1], &event, 1), 1);
	s.events = fds[0];
	share = &s;
	CHECK_EQ(run_script(&c, QMP_UP "exec sleep 60"), 123);
	CHECK(strstr(words, "error: share 'src': "
		"the guest's memory is not shared with the file server\n"));
	close(fds[0]);
	close(fds[1]);
}

/* Two of the states of a share that nobody uses; the third is a guest's. */
static void no_driver(void)
{
	struct share_config sc = {.tag = "src"};
	struct share s = {.config = &sc, .pidfd = -1, .relay = -1, .dir = -1,
			  .events = -1, .connected = true};
	struct config c;

	init_config(&c);
	share = &s;
	CHECK_EQ(run_script(&c, QMP_UP "exit 0"), 0);
	CHECK(strstr(words, "warning: the guest never set up share 'src': "
		"its kernel may lack CONFIG_VIRTIO_FS (or have it as a module "
		"that is not loaded)\n"));
	s.driver = true;
	share = &s;
	CHECK_EQ(run_script(&c, QMP_UP "exit 0"), 0);
	CHECK(strstr(words, "note: share 'src' was offered but never mounted; "
		"in the guest: mount -t virtiofs src /mnt\n"));
}

static void nonsense_from_the_guest(void)
{
	struct config c;

	init_config(&c);
	streams = true;
	CHECK_EQ(run_script(&c, QMP_UP "printf '%4000d' 1 >&7; sleep 0.5"),
		 122);
	CHECK(strstr(words, "warning: the guest sent nonsense on its control "
			    "port\n"));
	CHECK(strstr(words, "error: the guest ended before its command did "
			    "(it never came up)\n"));
}

static void exec_fails(void)
{
	char *missing[] = {"/nonexistent/qemu", NULL};
	char *noexec[] = {"/etc/passwd", NULL};
	struct config c;

	init_config(&c);
	CHECK_EQ(run_as(&c, missing), 127);
	CHECK(strstr(words, "/nonexistent/qemu: can't be executed"));
	CHECK_EQ(run_as(&c, noexec), 126);
}

static void first_signal_asks(void)
{
	struct config c;

	init_config(&c);
	c.shutdown_timeout_ms = 20000;
	/* It powers off in order when asked. */
	CHECK_EQ(run_script(&c, QMP_UP "kill -INT $PPID; read x <&8; case $x "
				"in *system_powerdown*) exit 0;; esac; exit 9"),
		 128 + SIGINT);
	CHECK_STR(words, "");
}

static void asked_in_vain(void)
{
	struct config c;

	init_config(&c);
	CHECK_EQ(run_script(&c, QMP_UP "kill -TERM $PPID; exec sleep 60"),
		 128 + SIGTERM);
	CHECK(strstr(words, "error: the guest was cut off: it did not end "
		"within the shutdown timeout of 0.3 s\n"));
	/* What it wrote to a disk may not be there. */
	c.nr_disks = 1;
	CHECK_EQ(run_script(&c, QMP_UP "kill -TERM $PPID; exec sleep 60"),
		 128 + SIGTERM);
	CHECK(strstr(words, "timeout of 0.3 s; its disk is as after a power "
		"cut\n"));
	c.timeout_ms = 200;
	CHECK_EQ(run_script(&c, QMP_UP "exec sleep 60"), 124);
	CHECK(strstr(words, "timeout of 0.2 s; its disk is as after a power "
		"cut\n"));
	c.ephemeral = true;
	CHECK_EQ(run_script(&c, QMP_UP "exec sleep 60"), 124);
	CHECK(!strstr(words, "power cut"));
}

/* Its kernel is not to blame for what it had no time for. */
static void ended_early(void)
{
	struct share_config sc = {.tag = "src"};
	struct share s = {.config = &sc, .pidfd = -1, .relay = -1, .dir = -1,
			  .events = -1, .connected = true};
	struct config c;

	init_config(&c);
	share = &s;
	CHECK_EQ(run_script(&c, QMP_UP "kill -TERM $PPID; exec sleep 60"),
		 128 + SIGTERM);
	CHECK(!strstr(words, "CONFIG_VIRTIO_FS"));
	c.timeout_ms = 200;
	CHECK_EQ(run_script(&c, QMP_UP "exec sleep 60"), 124);
	CHECK(!strstr(words, "CONFIG_VIRTIO_FS"));
	share = NULL;
}

static void second_signal_ends(void)
{
	struct config c;

	init_config(&c);
	c.shutdown_timeout_ms = 60000;
	CHECK_EQ(run_script(&c, QMP_UP "kill -HUP $PPID; read x <&8; "
				"kill -INT $PPID; exec sleep 60"),
		 128 + SIGHUP);
}

static void only_wanted_descriptors(void)
{
	struct config c;

	init_config(&c);
	/* 0 to 2, QMP and console; the shell's own are closed by then. */
	CHECK_EQ(run_script(&c, "for f in /proc/$$/fd/*; do case ${f##*/} in "
				"[01289]) ;; *) test ! -e $f || exit 4;; esac; "
				"done; exit 0"), 0);
}

static void status_lines(void)
{
	struct config c;
	int fds[2];
	char buf[512];
	ssize_t n;

	init_config(&c);
	CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
	c.status_fd = fds[1];
	CHECK_EQ(run_script(&c, QMP_UP "exit 0"), 0);
	close(fds[1]);
	n = read(fds[0], buf, sizeof(buf) - 1);
	close(fds[0]);
	CHECK(n > 0);
	buf[n] = '\0';
	CHECK(strncmp(buf, "{\"event\":\"started\",\"child-pid\":", 31) == 0);
	CHECK(strstr(buf, "}\n{\"event\":\"exit\",\"code\":0,"
			  "\"source\":\"guest\"}\n"));
}

static void pidfile_goes(void)
{
	struct config c;

	init_config(&c);
	c.pidfile = "/tmp/test-supervise.pid";
	CHECK_EQ(run_script(&c, "test -s /tmp/test-supervise.pid"), 0);
	CHECK_EQ(access(c.pidfile, F_OK), -1);
}

/* ---- the guardian -------------------------------------------------------- */

/* Does a process exist, other than as a zombie? */
static bool lives(pid_t pid)
{
	char path[64], line[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	return line[0] && !strstr(line, ") Z ");
}

static bool gone_soon(pid_t pid)
{
	for (int i = 0; i < 200; i++) {
		if (!lives(pid))
			return true;
		usleep(10000);
	}
	return false;
}

static _Noreturn void guarded_parent(int tell, int tty, const char *path)
{
	struct guardian *g;
	struct terminal t;
	long pid;

	/* The terminal must be its own to be made raw. */
	setsid();
	ioctl(tty, TIOCSCTTY, 0);
	if (guardian_start(&g))
		_exit(1);
	guardian_file(g, path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, guardian_slot(g), 0,
		      0);
	if (pid == 0) {
		for (;;)
			pause();
	}
	terminal_open(&t, tty, g);
	terminal_raw(&t);
	(void)!write(tell, &pid, sizeof(pid));
	for (;;)
		pause();
}

static void killed_parent(void)
{
	const char *path = "/tmp/test-supervise.left";
	struct termios before, raw, after;
	int master = posix_openpt(O_RDWR | O_NOCTTY), fds[2], tty;
	long child;
	pid_t pid;

	grantpt(master);
	unlockpt(master);
	tty = open(ptsname(master), O_RDWR | O_NOCTTY);
	CHECK(tty >= 0);
	CHECK_EQ(tcgetattr(tty, &before), 0);
	CHECK_EQ(pipe(fds), 0);
	pid = fork();
	if (pid == 0)
		guarded_parent(fds[1], tty, path);
	CHECK_EQ(read(fds[0], &child, sizeof(child)), sizeof(child));
	CHECK_EQ(access(path, F_OK), 0);
	CHECK_EQ(tcgetattr(tty, &raw), 0);
	CHECK(!(raw.c_lflag & ICANON));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(gone_soon((pid_t)child));
	for (int i = 0; i < 100 && access(path, F_OK) == 0; i++)
		usleep(10000);
	CHECK_EQ(access(path, F_OK), -1);
	CHECK_EQ(tcgetattr(tty, &after), 0);
	CHECK_EQ(after.c_lflag, before.c_lflag);
	close(fds[0]);
	close(fds[1]);
	close(tty);
	close(master);
}

/* ---- the console --------------------------------------------------------- */

static void pump(struct console *c)
{
	struct pollfd fds[CONSOLE_FDS];

	for (int i = 0; i < 10; i++) {
		unsigned int nr = console_poll(c, fds);

		if (poll(fds, nr, 20) <= 0)
			return;
		console_handle(c, fds, nr);
	}
}

static void console_keys(void)
{
	int guest[2], in[2], out[2];
	struct console c;
	char buf[64];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, guest), 0);
	CHECK_EQ(pipe(in), 0);
	CHECK_EQ(pipe(out), 0);
	console_open(&c, guest[0], in[0], out[1]);
	c.escape = true;
	CHECK_EQ(write(in[1], "a\1\1b\1c", 6), 6);
	CHECK_EQ(write(guest[1], "hello\0\377", 7), 7);
	pump(&c);
	CHECK_EQ(read(guest[1], buf, sizeof(buf)), 5);
	CHECK(memcmp(buf, "a\1b\1c", 5) == 0);
	CHECK_EQ(read(out[0], buf, sizeof(buf)), 7);
	CHECK(memcmp(buf, "hello\0\377", 7) == 0);
	CHECK(!c.quit);
	CHECK_EQ(write(in[1], "\1x", 2), 2);
	pump(&c);
	CHECK(c.quit);
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
	close(guest[1]);
	close(c.guest);
}

/* A reader who does not read stops the guest's output, not us. */
static void console_backpressure(void)
{
	static char block[65536];
	int guest[2], out[2];
	struct console c;
	size_t sent = 0, got = 0;
	ssize_t n;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, guest), 0);
	CHECK_EQ(pipe2(out, O_NONBLOCK), 0);
	(void)fcntl(out[1], F_SETFL, 0);
	console_open(&c, guest[0], -1, out[1]);
	for (int i = 0; i < 60; i++) {
		n = send(guest[1], block, sizeof(block), MSG_DONTWAIT);
		if (n > 0)
			sent += (size_t)n;
		pump(&c);
	}
	CHECK(sent < 2000000);
	for (int i = 0; i < 4000 && got < sent; i++) {
		n = read(out[0], block, sizeof(block));
		if (n > 0)
			got += (size_t)n;
		pump(&c);
	}
	CHECK_EQ(got, sent);
	close(guest[1]);
	close(c.guest);
	close(out[0]);
	close(out[1]);
}

static const struct check_case cases[] = {
	{"QEMU ends in order", orderly_end},
	{"QEMU refuses to start", qemu_refuses},
	{"QEMU fails later", qemu_fails_later},
	{"QEMU is killed", qemu_killed},
	{"the guest panics", guest_panics},
	{"a guest that panics is dumped", dumps},
	{"--timeout ends the guest", timeout},
	{"timeout of a QEMU that ignores TERM", timeout_deaf},
	{"words of QEMU's without an end", endless_words},
	{"memory that is not shared", memory_not_shared},
	{"a share without a driver", no_driver},
	{"nonsense from the guest", nonsense_from_the_guest},
	{"QEMU can't be executed", exec_fails},
	{"the first signal asks", first_signal_asks},
	{"a guest that does not listen is ended", asked_in_vain},
	{"a guest that is ended early", ended_early},
	{"the second signal ends it", second_signal_ends},
	{"QEMU gets only its descriptors", only_wanted_descriptors},
	{"events on --status-fd", status_lines},
	{"the pidfile goes", pidfile_goes},
	{"nothing is left of a killed parent", killed_parent},
	{"^A x ends the machine", console_keys},
	{"a slow reader slows the console", console_backpressure},
};

int main(int argc, char **argv)
{
	/* The shell of a test is no caller whose keys are wanted. */
	int null = open("/dev/null", O_RDONLY);

	dup2(null, STDIN_FILENO);
	close(null);
	(void)signal(SIGPIPE, SIG_IGN);
	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
