#define HF_LOG_MODULE "agent"
#include "stores.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hf_hash.h"
#include "hf_log.h"

#define PASSWORD_BYTES 16
#define SYSTEM_FOLDERS "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define DATABASE_NAME  "holdfast"
#define DATABASE_USER  "holdfast"

/* Makes the data folder under another name first: one that is half made is never started from. Runs
 * as the process that becomes the server, so that stopping it stops the making too. "--force": the
 * host's name need not be resolvable, nobody logs in under it. A folder of its own for temporary
 * tables: two servers that start at once in one take each other's for theirs, and fail. */
static const char mariadb_script[] =
	"data=$1 new=$1.new.$$ install=$2 user=$3 TMPDIR=$1.tmp; shift 3\n"
	"rm -rf \"$TMPDIR\" && mkdir -m 700 \"$TMPDIR\" && export TMPDIR || exit 1\n"
	"if [ ! -d \"$data\" ]; then\n"
	"	rm -rf \"$data\".new.* &&\n"
	"	\"$install\" --no-defaults --datadir=\"$new\" --skip-test-db --force \\\n"
	"		--auth-root-authentication-method=socket $user &&\n"
	"	mv \"$new\" \"$data\" || exit 1\n"
	"fi\n"
	"exec \"$@\"\n";

/* A program by path, or by name in PATH and in the folders of daemons that PATH may lack. */
static bool find_program(const char *name, char ret[PATH_MAX])
{
	const char *path = getenv("PATH");
	const char *lists[] = { path != NULL ? path : "", SYSTEM_FOLDERS };

	if (strchr(name, '/') != NULL)
		return snprintf(ret, PATH_MAX, "%s", name) < PATH_MAX && access(ret, X_OK) == 0;
	for (size_t i = 0; i < HF_ARRAY_LEN(lists); i++) {
		for (const char *folder = lists[i]; *folder != '\0';) {
			size_t len = strcspn(folder, ":");

			if (len > 0 &&
			    snprintf(ret, PATH_MAX, "%.*s/%s", (int)len, folder, name) < PATH_MAX &&
			    access(ret, X_OK) == 0)
				return true;
			folder += len + (folder[len] == ':');
		}
	}
	return false;
}

static int program_missing(char error[HF_CONFIG_ERROR_SIZE], const char *key, const char *name)
{
	snprintf(error, HF_CONFIG_ERROR_SIZE, "%s: there is no program %s", key, name);
	return -EINVAL;
}

static int redis_argv(const struct agent_config *config, struct argv *argv,
		      char error[HF_CONFIG_ERROR_SIZE])
{
	static const char *const fixed[] = {
		"--bind",        "127.0.0.1", "--unixsocketperm",   "700",
		"--daemonize",   "no",        "--appendonly",       "yes",
		"--appendfsync", "always", /* DESIGN 8: a power cut loses nothing acked */
		"--save",        "",          "--maxmemory-policy", "noeviction",
		"--logfile",     "",
	};
	char program[PATH_MAX];

	if (!find_program(config->redis_program, program))
		return program_missing(error, "redis.program", config->redis_program);
	argv_add(argv, "%s", program);
	argv_add(argv, "--port");
	argv_add(argv, "%" PRIu64, config->redis_port);
	argv_add(argv, "--unixsocket");
	argv_add(argv, "%s/run/redis.sock", config->data_dir);
	argv_add(argv, "--dir");
	argv_add(argv, "%s/redis", config->data_dir);
	argv_add(argv, "--maxmemory");
	argv_add(argv, "%" PRIu64, config->redis_maxmemory);
	for (size_t i = 0; i < HF_ARRAY_LEN(fixed); i++)
		argv_add(argv, "%s", fixed[i]);
	return 0;
}

static int mariadb_argv(const struct agent_config *config, struct argv *argv,
			char error[HF_CONFIG_ERROR_SIZE])
{
	const char *user = geteuid() == 0 ? "--user=root" : ""; /* root must say that it means it */
	const char *dir = config->data_dir;
	char program[PATH_MAX], install[PATH_MAX];

	if (!find_program(config->mariadb_program, program))
		return program_missing(error, "mariadb.program", config->mariadb_program);
	if (!find_program(config->mariadb_install_program, install))
		return program_missing(error, "mariadb.install_program",
				       config->mariadb_install_program);
	argv_add(argv, "/bin/sh");
	argv_add(argv, "-c");
	argv_add(argv, "%s", mariadb_script);
	argv_add(argv, "holdfast-mariadb");
	argv_add(argv, "%s/mariadb", dir);
	argv_add(argv, "%s", install);
	argv_add(argv, "%s", user);

	argv_add(argv, "%s", program);
	argv_add(argv, "--no-defaults");
	if (user[0] != '\0')
		argv_add(argv, "%s", user);
	argv_add(argv, "--datadir=%s/mariadb", dir);
	argv_add(argv, "--socket=%s/run/mariadb.sock", dir);
	argv_add(argv, "--pid-file=%s/run/mariadb.pid", dir);
	argv_add(argv, "--init-file=%s/run/mariadb.sql", dir);
	if (config->mariadb_port == 0) {
		argv_add(argv, "--skip-networking");
	} else {
		argv_add(argv, "--bind-address=127.0.0.1");
		argv_add(argv, "--port=%" PRIu64, config->mariadb_port);
	}
	argv_add(argv, "--skip-name-resolve");
	argv_add(argv, "--character-set-server=utf8mb4");
	argv_add(argv, "--innodb-buffer-pool-size=%" PRIu64, config->mariadb_buffer_pool);
	argv_add(argv, "--innodb-log-file-size=48M");
	argv_add(argv, "--innodb-flush-log-at-trx-commit=1");
	argv_add(argv, "--max-allowed-packet=16M");
	argv_add(argv, "--max-connections=100");
	argv_add(argv, "--key-buffer-size=1M");
	argv_add(argv, "--aria-pagecache-buffer-size=8M");
	argv_add(argv, "--performance-schema=off");
	argv_add(argv, "--skip-log-bin");
	return 0;
}

int stores_argv(const struct agent_config *config, enum agent_role role, char ***ret_argv,
		char error[HF_CONFIG_ERROR_SIZE])
{
	struct argv argv = { 0 };
	int err = role == ROLE_REDIS ? redis_argv(config, &argv, error)
				     : mariadb_argv(config, &argv, error);
	char **items;

	if (err < 0)
		argv.failed = true; /* frees what was added */
	items = argv_take(&argv);
	if (items == NULL && err == 0) {
		snprintf(error, HF_CONFIG_ERROR_SIZE, "out of memory");
		err = -ENOMEM;
	}
	if (err == 0)
		*ret_argv = items;
	return err;
}

void stores_add_saver_options(const struct agent_config *config, struct argv *argv)
{
	const char *dir = config->data_dir;

	if (config->redis_enabled)
		argv_add_set(argv, "redis.nodes=unix:%s/run/redis.sock", dir);
	if (config->mariadb_enabled) {
		argv_add_set(argv, "database.socket=%s/run/mariadb.sock", dir);
		argv_add_set(argv, "database.user=" DATABASE_USER);
		argv_add_set(argv, "database.password_file=%s/run/mariadb.password", dir);
		argv_add_set(argv, "database.name=" DATABASE_NAME);
	}
}

/* --- files --- */

static int make_folder(const char *data_dir, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", data_dir, name);
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* A small file for this user's eyes only, there as a whole or not at all. */
static int write_file(const char *path, const char *text)
{
	char temp[PATH_MAX];
	size_t len = strlen(text);
	int fd, err = 0;

	if (snprintf(temp, sizeof(temp), "%s.new", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) < 0)
		err = errno != 0 ? -errno : -EIO;
	close(fd);
	if (err == 0 && rename(temp, path) < 0)
		err = -errno;
	return err;
}

/* The savers' password: made once, read by them from the file. */
static int get_password(const char *path, char ret[2 * PASSWORD_BYTES + 1])
{
	uint8_t bytes[PASSWORD_BYTES];
	ssize_t len = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		len = read(fd, ret, 2 * PASSWORD_BYTES);
		close(fd);
		ret[2 * PASSWORD_BYTES] = '\0';
		if (len == 2 * PASSWORD_BYTES && strspn(ret, "0123456789abcdef") == (size_t)len)
			return 0;
	}
	hf_random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
	return write_file(path, ret);
}

/* Run by the server at each start, before it takes connections. */
static int write_init_file(const char *data_dir)
{
	static const char *const hosts[] = { "localhost", "127.0.0.1" };
	char path[PATH_MAX], password[2 * PASSWORD_BYTES + 1], text[2048];
	size_t len;
	int err;

	snprintf(path, sizeof(path), "%s/run/mariadb.password", data_dir);
	err = get_password(path, password);
	if (err < 0)
		return err;
	len = (size_t)snprintf(text, sizeof(text),
			       "CREATE DATABASE IF NOT EXISTS " DATABASE_NAME
			       " CHARACTER SET utf8mb4;\n");
	for (size_t i = 0; i < HF_ARRAY_LEN(hosts); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"CREATE USER IF NOT EXISTS '" DATABASE_USER "'@'%s';\n"
					"ALTER USER '" DATABASE_USER "'@'%s' IDENTIFIED BY '%s';\n"
					"GRANT ALL ON " DATABASE_NAME ".* TO '" DATABASE_USER
					"'@'%s';\n",
					hosts[i], hosts[i], password, hosts[i]);
	snprintf(path, sizeof(path), "%s/run/mariadb.sql", data_dir);
	return write_file(path, text);
}

int stores_prepare(const struct agent_config *config)
{
	int err = 0;

	if (config->redis_enabled)
		err = make_folder(config->data_dir, "redis");
	if (err == 0 && config->mariadb_enabled)
		err = write_init_file(config->data_dir);
	if (err < 0)
		HF_ERROR("store files not written", "data_dir=%s err=%s", config->data_dir,
			 strerror(-err));
	return err;
}
