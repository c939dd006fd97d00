// The traffic of the test machine: datagrams whose number is known.
//
//   traffic receive PORT READ_PORT:RCVBUF...   binds them all, says "ready", reads the first as datagrams come; the others
//                                              keep a buffer of RCVBUF bytes and are read at SIGTERM only. Prints what
//                                              was read: a line "PORT COUNT" for each.
//   traffic send ADDRESS PORT COUNT GAP_US     COUNT datagrams of 64 bytes, GAP_US microseconds apart

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { datagram_bytes = 64, most_ports = 8 };

static volatile sig_atomic_t asked_to_end;

static void ask_to_end(int signal)
{
    (void)signal;
    asked_to_end = 1;
}

static void give_up(const char* what)
{
    perror(what);
    exit(1);
}

static int bound_socket(int port, int buffer)
{
    const struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    const int file = socket(AF_INET, SOCK_DGRAM, 0);
    if (file < 0 || (buffer > 0 && setsockopt(file, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) != 0) ||
        bind(file, (const struct sockaddr*)&at, sizeof at) != 0) {
        give_up("receive");
    }
    return file;
}

static int read_all(int file)
{
    char data[2048];
    int count = 0;
    while (recv(file, data, sizeof data, MSG_DONTWAIT) >= 0) {
        count++;
    }
    return count;
}

static int receive(int ports, char** names)
{
    int files[most_ports];
    int counts[most_ports] = {0};
    if (ports > most_ports) {
        fprintf(stderr, "receive: at most %d ports\n", most_ports);
        return 2;
    }
    for (int i = 0; i < ports; i++) {
        const char* colon = strchr(names[i], ':');
        files[i] = bound_socket(atoi(names[i]), colon ? atoi(colon + 1) : 0);
    }
    // Blocked but while waiting: a signal between the test and the wait would be lost.
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    signal(SIGTERM, ask_to_end);
    puts("ready");
    fflush(stdout);
    while (!asked_to_end) {
        struct pollfd first = {.fd = files[0], .events = POLLIN};
        if (ppoll(&first, 1, NULL, &before) > 0) {
            counts[0] += read_all(files[0]);
        }
    }
    for (int i = 0; i < ports; i++) {
        counts[i] += read_all(files[i]);
        printf("%d %d\n", atoi(names[i]), counts[i]);
    }
    return 0;
}

static int send_datagrams(const char* address, int port, int count, int gap_us)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    const char data[datagram_bytes] = {0};
    const int file = socket(AF_INET, SOCK_DGRAM, 0);
    if (file < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1) {
        give_up("send");
    }
    for (int i = 0; i < count; i++) {
        if (sendto(file, data, sizeof data, 0, (const struct sockaddr*)&to, sizeof to) != sizeof data) {
            give_up("sendto");
        }
        usleep((useconds_t)gap_us);
    }
    return 0;
}

int main(int count, char** words)
{
    if (count >= 3 && strcmp(words[1], "receive") == 0) {
        return receive(count - 2, words + 2);
    }
    if (count == 6 && strcmp(words[1], "send") == 0) {
        return send_datagrams(words[2], atoi(words[3]), atoi(words[4]), atoi(words[5]));
    }
    fprintf(stderr, "usage: traffic receive PORT PORT:RCVBUF... | traffic send ADDRESS PORT COUNT GAP_US\n");
    return 2;
}
