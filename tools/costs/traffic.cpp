// Datagrams of 64 bytes over loopback: one is sent, one is read, so many times. Prints the nanoseconds a pair takes.
// measure_costs wants this figure of a run without tracing, and a recording of a run with tracing.

#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char** argv)
{
    const long pairs = argc > 1 ? std::atol(argv[1]) : 100'000;
    const int receiver = socket(AF_INET, SOCK_DGRAM, 0);
    const int sender = socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof to;
    if (receiver < 0 || sender < 0 || bind(receiver, reinterpret_cast<sockaddr*>(&to), length) != 0 ||
        getsockname(receiver, reinterpret_cast<sockaddr*>(&to), &length) != 0) {
        std::perror("traffic: no sockets on loopback");
        return 1;
    }
    char payload[64] = {};
    timespec begin{}, end{};
    for (long pair = -pairs / 10; pair < pairs; ++pair) { // the first tenth warms up
        if (pair == 0) {
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
        }
        if (sendto(sender, payload, sizeof payload, 0, reinterpret_cast<sockaddr*>(&to), length) !=
                sizeof payload ||
            recvfrom(receiver, payload, sizeof payload, 0, nullptr, nullptr) != sizeof payload) {
            std::perror("traffic");
            return 1;
        }
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    const double elapsed = static_cast<double>(end.tv_sec - begin.tv_sec) * 1e9 +
                           static_cast<double>(end.tv_nsec - begin.tv_nsec);
    std::printf("%.0f\n", elapsed / static_cast<double>(pairs));
    close(receiver);
    close(sender);
    return 0;
}
