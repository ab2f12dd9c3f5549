/* role_run_test - the three roles as real processes around a real switch: by hand and under a host
 * (played by the test), what they say to it, and how each way to end ends. */
#include "role/role_run.h"

#include "bus/bus_switch.h"
#include "config/api_keys.h"
#include "config/snapshot.h"
#include "life/report.h"
#include "testing/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_S = 60 /* then SIGALRM ends the test program */ };

static char scratch[64], bus_url[96];
static pid_t switch_pid;

struct child {
    pid_t pid;
    FILE *out;     /* its stdout */
    FILE *reports; /* under a host */
    int life_fd;   /* the host's end; -1: by hand */
};

/* --- the switch, in a process of its own: the test itself stays single-threaded, and may fork ---
 */

static void run_switch(void)
{
    struct loop *loop = loop_new();
    struct bus_switch *bus_switch;
    struct bus_switch_config config = {scratch, 8 * 1024 * 1024, 10000};
    struct err_note note;
    if (bus_switch_new(loop, &config, &note, &bus_switch) == ERR_OK)
        loop_run(loop);
    _exit(1);
}

static void begin(void)
{
    alarm(PATIENCE_S);
    snprintf(scratch, sizeof(scratch), "/tmp/millrace-roles-XXXXXX");
    CHECK(mkdtemp(scratch) != NULL);
    snprintf(bus_url, sizeof(bus_url), "--bus-url=ipc://%s", scratch);
    setenv("XDG_RUNTIME_DIR", scratch, 1);
    switch_pid = fork();
    if (switch_pid == 0)
        run_switch();
}

static void end(void)
{
    char command[128];
    kill(switch_pid, SIGKILL);
    CHECK_EQ(waitpid(switch_pid, NULL, 0), switch_pid);
    snprintf(command, sizeof(command), "rm -rf %s", scratch);
    CHECK_EQ(system(command), 0);
    alarm(0);
}

/* --- roles --- */

static int run_role(const char *role, const char *option)
{
    char *argv[] = {(char *)(uintptr_t) "test",
                    bus_url,
                    (char *)(uintptr_t) "--log-level=error",
                    (char *)(uintptr_t) "--default-model=dummy",
                    (char *)(uintptr_t)option,
                    NULL};
    int argc = option ? 5 : 4;
    if (strcmp(role, "gateway") == 0)
        return role_run_gateway(argc, argv);
    if (strcmp(role, "manager") == 0)
        return role_run_manager(argc, argv);
    return role_run_worker(argc, argv, role);
}

static void set_fd(const char *name, int fd)
{
    char number[16];
    snprintf(number, sizeof(number), "%d", fd);
    setenv(name, number, 1);
}

/* `role`: "gateway", "manager", or a worker's model. config_fd >= 0: under a host. */
static struct child start(const char *role, const char *option, int config_fd)
{
    int out[2], reports[2] = {-1, -1}, life[2] = {-1, -1};
    CHECK_EQ(pipe(out), 0);
    if (config_fd >= 0) {
        CHECK_EQ(pipe(reports), 0);
        CHECK_EQ(pipe(life), 0);
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        if (config_fd >= 0) {
            close(life[1]);
            close(reports[0]);
            set_fd("MILLRACE_LIFE_FD", life[0]);
            set_fd("MILLRACE_REPORT_FD", reports[1]);
            set_fd("MILLRACE_CONFIG_FD", config_fd);
        }
        exit(run_role(role, option));
    }
    close(out[1]);
    if (config_fd >= 0) {
        close(life[0]);
        close(reports[1]);
    }
    return (struct child){pid, fdopen(out[0], "r"), config_fd < 0 ? NULL : fdopen(reports[0], "r"),
                          life[1]};
}

static int wait_end(struct child *child)
{
    int status;
    CHECK_EQ(waitpid(child->pid, &status, 0), child->pid);
    CHECK(WIFEXITED(status));
    fclose(child->out);
    if (child->reports)
        fclose(child->reports);
    if (child->life_fd >= 0)
        close(child->life_fd);
    return WEXITSTATUS(status);
}

static int stop(struct child *child)
{
    kill(child->pid, SIGTERM);
    return wait_end(child);
}

/* The next report of that kind; its text is cut off its newline. */
static const char *wait_report(struct child *child, enum report_kind kind)
{
    static char line[REPORT_LINE_MAX_BYTES + 1], text[REPORT_LINE_MAX_BYTES + 1];
    struct report report;
    do {
        CHECK(fgets(line, sizeof(line), child->reports) != NULL);
        line[strcspn(line, "\n")] = 0;
        CHECK_OK(report_read(slice_str(line), &report));
    } while (report.kind != kind);
    snprintf(text, sizeof(text), SLICE_FMT, SLICE_ARG(report.text));
    return text;
}

/* By hand the gateway says on stdout where it listens. */
static uint16_t read_port(struct child *gateway)
{
    char line[256];
    unsigned port = 0;
    CHECK(fgets(line, sizeof(line), gateway->out) != NULL);
    const char *colon = strrchr(line, ':');
    CHECK(colon != NULL);
    CHECK_EQ(sscanf(colon, ":%u", &port), 1);
    return (uint16_t)port;
}

/* --- a client --- */

static int ask(uint16_t port, const char *target, const char *body)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[512];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    int len = snprintf(request, sizeof(request),
                       "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                       "Content-Length: %zu\r\n\r\n%s",
                       body[0] ? "POST" : "GET", target, strlen(body), body);
    CHECK_EQ(write(fd, request, (size_t)len), len);
    return fd;
}

/* All of the answer, in a static. */
static const char *answer(int fd)
{
    static char bytes[65536];
    size_t len = 0;
    for (ssize_t got; (got = read(fd, bytes + len, sizeof(bytes) - 1 - len)) > 0;)
        len += (size_t)got;
    bytes[len] = 0;
    close(fd);
    return bytes;
}

/* Asks until the word is in the answer: what happens in other processes takes its time. The alarm
 * bounds it, each question is a round trip. */
static void wait_answer(uint16_t port, const char *target, const char *body, const char *word)
{
    while (!strstr(answer(ask(port, target, body)), word))
        ;
}

static int snapshot(char *const *env)
{
    struct config *config;
    int fd = memfd_create("role_run_test", 0);
    char *argv[] = {(char *)(uintptr_t) "test", bus_url,
                    (char *)(uintptr_t) "--default-model=dummy", (char *)(uintptr_t) "0", NULL};
    CHECK(fd >= 0);
    CHECK_OK(config_load(4, argv, env, &config, NULL));
    CHECK_OK(config_snapshot_write(config, fd));
    config_free(config);
    return fd;
}

/* --- the claims --- */

TEST(started_by_hand_they_serve_and_end_when_told)
{
    begin();
    struct child gateway = start("gateway", "0", -1);
    struct child manager = start("manager", NULL, -1);
    struct child worker = start("dummy", NULL, -1);
    uint16_t port = read_port(&gateway);
    wait_answer(port, "/health", "", "\"state\":\"ready\"");
    wait_answer(port, "/v1/completions", "{\"model\":\"dummy\",\"prompt\":\"x\"}",
                "tok1 tok2 tok3");
    CHECK_EQ(stop(&gateway), 0);
    CHECK_EQ(stop(&worker), 0);
    CHECK_EQ(stop(&manager), 0);
    end();
}

TEST(under_a_host_they_beat_and_say_when_they_are_ready)
{
    begin();
    int config_fd = snapshot((char *const[]){NULL});
    struct child roles[] = {start("gateway", NULL, config_fd), start("manager", NULL, config_fd),
                            start("dummy", NULL, config_fd)};
    for (size_t i = 0; i < ARRAY_COUNT(roles); i++) {
        const char *text = wait_report(&roles[i], REPORT_READY);
        CHECK(i > 0 ? text[0] == 0 : strncmp(text, "127.0.0.1:", 10) == 0);
        wait_report(&roles[i], REPORT_BEAT);
        kill(roles[i].pid, SIGINT); /* a terminal's; the host will say */
        wait_report(&roles[i], REPORT_BEAT);
        wait_report(&roles[i], REPORT_BEAT);
    }
    for (size_t i = 0; i < ARRAY_COUNT(roles); i++) {
        kill(roles[i].pid, SIGTERM);
        wait_report(&roles[i], REPORT_DRAINING);
        CHECK_EQ(wait_end(&roles[i]), 0);
    }
    close(config_fd);
    end();
}

TEST(the_end_of_the_host_is_theirs)
{
    begin();
    int config_fd = snapshot((char *const[]){NULL});
    struct child manager = start("manager", NULL, config_fd);
    wait_report(&manager, REPORT_READY);
    close(manager.life_fd);
    manager.life_fd = -1;
    CHECK_EQ(wait_end(&manager), 1);
    close(config_fd);
    end();
}

/* The snapshot's keys hold on every thread of a gateway that runs. */
TEST(a_hangup_brings_the_hosts_new_keys)
{
    begin();
    int config_fd = snapshot((char *const[]){"LOG_LEVEL=error", NULL});
    struct child gateway = start("gateway", NULL, config_fd);
    uint16_t port = (uint16_t)atoi(strrchr(wait_report(&gateway, REPORT_READY), ':') + 1);
    const char *body = "{\"model\":\"dummy\",\"prompt\":\"x\"}";
    CHECK(strstr(answer(ask(port, "/v1/completions", body)), " 401 ") == NULL);
    struct config *config;
    CHECK_OK(config_snapshot_read(config_fd, &config, NULL));
    CHECK_OK(api_keys_read(SLICE("[{\"name\":\"a\",\"sha256\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}]"),
                           config, NULL));
    CHECK_OK(config_snapshot_write(config, config_fd));
    config_free(config);
    kill(gateway.pid, SIGHUP);
    wait_answer(port, "/v1/completions", body, " 401 ");
    CHECK_EQ(stop(&gateway), 0);
    close(config_fd);
    end();
}

TEST(a_second_signal_does_not_wait_for_the_drain)
{
    begin();
    int config_fd = snapshot((char *const[]){"DUMMY_TOKENS=65536", "DRAIN_MS=86400000", NULL});
    struct child gateway = start("gateway", NULL, config_fd);
    struct child manager = start("manager", NULL, config_fd);
    struct child worker = start("dummy", NULL, config_fd);
    uint16_t port = (uint16_t)atoi(strrchr(wait_report(&gateway, REPORT_READY), ':') + 1);
    wait_report(&worker, REPORT_READY);
    wait_answer(port, "/health", "", "\"state\":\"ready\"");
    char first[16];
    int fd = ask(port, "/v1/completions?stream=true",
                 "{\"model\":\"dummy\",\"prompt\":\"x\",\"max_tokens\":65536}");
    CHECK_EQ(read(fd, first, sizeof(first)), sizeof(first));
    kill(gateway.pid, SIGTERM);
    wait_report(&gateway, REPORT_DRAINING);
    wait_report(&gateway, REPORT_BEAT); /* it still serves */
    kill(gateway.pid, SIGTERM);
    CHECK_EQ(wait_end(&gateway), 130);
    close(fd);
    CHECK_EQ(stop(&manager), 0);
    kill(worker.pid, SIGKILL);
    CHECK_EQ(waitpid(worker.pid, NULL, 0), worker.pid);
    fclose(worker.out);
    fclose(worker.reports);
    close(worker.life_fd);
    close(config_fd);
    end();
}

TEST(a_model_that_cannot_be_had_ends_its_worker_and_the_host_hears_why)
{
    begin();
    int config_fd = snapshot((char *const[]){NULL});
    struct config *config;
    CHECK_OK(config_snapshot_read(config_fd, &config, NULL));
    config->default_model = "llama";
    config->llama_model_path = "/nonexistent/model.gguf";
    CHECK_OK(config_snapshot_write(config, config_fd));
    config_free(config);
    struct child worker = start("llama", NULL, config_fd);
    CHECK(strlen(wait_report(&worker, REPORT_FAILED)) > 0);
    CHECK_EQ(wait_end(&worker), 1);
    worker = start("another", NULL, config_fd);
    CHECK_STR(wait_report(&worker, REPORT_FAILED),
              "there is no model 'another' for a worker: it is 'dummy' or 'llama'");
    CHECK_EQ(wait_end(&worker), 1);
    close(config_fd);
    end();
}

TEST(what_it_cannot_start_with_is_its_exit_status)
{
    begin();
    struct child wrong = start("manager", "--drain-ms=x", -1);
    CHECK_EQ(wait_end(&wrong), 2);
    snprintf(bus_url, sizeof(bus_url), "--bus-url=");
    wrong = start("manager", NULL, -1);
    CHECK_EQ(wait_end(&wrong), 1);
    setenv("MILLRACE_LIFE_FD", "77", 1);
    wrong = start("manager", NULL, -1);
    CHECK_EQ(wait_end(&wrong), 1);
    unsetenv("MILLRACE_LIFE_FD");
    int no_snapshot = memfd_create("role_run_test", 0);
    wrong = start("manager", NULL, no_snapshot);
    CHECK_EQ(wait_end(&wrong), 2);
    close(no_snapshot);
    end();
}
