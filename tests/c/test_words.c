/* rooms: base memback guest launch */
/* SPDX-License-Identifier: MIT */
/*
 * Words that a run says rarely: of a guest that is slow, of a limit that is
 * reached, of a front end that hangs up; and when a wait is worth one.
 */

#include "launch/look/look.h"
#include "launch/run/supervise.h"
#include "tests/c/check.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static char words[4096];

static char *what_stderr_gets(void (*act)(void))
{
	int file = memfd_create("words", MFD_CLOEXEC);
	int saved = dup(STDERR_FILENO);
	ssize_t n;

	dup2(file, STDERR_FILENO);
	act();
	dup2(saved, STDERR_FILENO);
	close(saved);
	n = pread(file, words, sizeof(words) - 1, 0);
	words[n < 0 ? 0 : n] = '\0';
	close(file);
	return words;
}

static void wait_in_vain(void)
{
	struct share_config sc = {.tag = "src"};
	struct share s = {.config = &sc};

	outcome_waiting(&s, 60);
}

/* At a limit of descriptors what ps and stat need is what is given up. */
static void publish_without_room(void)
{
	struct rlimit was, none;
	struct config c;
	int fd;

	memset(&c, 0, sizeof(c));
	c.command = "run";
	getrlimit(RLIMIT_NOFILE, &was);
	none = was;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	look_publish(&c);
	CHECK(!look_stats(0, &fd));
	setrlimit(RLIMIT_NOFILE, &was);
}

static int hung_up(void *ctx, int conn)
{
	(void)ctx, (void)conn;
	return -ECONNRESET;
}

static void serve_one(void)
{
	CHECK_EQ(serve_connections(-1, SERVE_CONNECTED, NULL, hung_up, NULL),
		 1);
}

static void rare_words(void)
{
	char want[256];

	CHECK_STR(what_stderr_gets(wait_in_vain),
		  "vmshare: note: the guest has not set up share 'src' in 60 "
		  "s: it boots slowly, or its kernel lacks "
		  "CONFIG_VIRTIO_FS\n");
	/* The C library has its own words for an error. */
	snprintf(want, sizeof(want), "vmshare: warning: 'vmshare ps' won't "
		 "show this one: %s\nvmshare: warning: 'vmshare stat' won't "
		 "show a share: %s\n", strerror(EMFILE), strerror(EMFILE));
	CHECK_STR(what_stderr_gets(publish_without_room), want);
	CHECK_STR(what_stderr_gets(serve_one),
		  "vmshare: error: connection to QEMU: Connection reset by "
		  "peer\n");
}

/* Nothing in the first second; then a log once, a terminal again and again. */
static void progress_is_due(void)
{
	struct progress p;

	progress_begin(&p);
	CHECK(!p.screen || isatty(STDERR_FILENO));
	p.began += 60000;
	CHECK(!progress_due(&p));
	p.began -= 120000;
	p.screen = false;
	CHECK(progress_due(&p));
	CHECK(!progress_due(&p));
	p.screen = true;
	CHECK(progress_due(&p) && progress_due(&p));
	CHECK(progress_ms(&p) >= 60000);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"rare words", rare_words},
		{"progress is due", progress_is_due},
	};

	return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
