#include "capture/session/record_cost.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <sys/socket.h>
#include <unistd.h>

namespace skbscope {

MessageLoop::MessageLoop()
{
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends_) != 0) {
        ends_[0] = ends_[1] = -1;
    }
}

MessageLoop::~MessageLoop()
{
    for (const int end : ends_) {
        if (end >= 0) {
            (void)close(end);
        }
    }
}

double MessageLoop::ns_a_message() const
{
    constexpr unsigned rounds = 5;
    constexpr unsigned a_round = messages / rounds;
    if (ends_[0] < 0) {
        return 0;
    }
    double fastest = std::numeric_limits<double>::max();
    for (unsigned round = 0; round < rounds; ++round) {
        const auto begin = std::chrono::steady_clock::now();
        for (unsigned i = 0; i < a_round; ++i) {
            char byte = 0;
            if (send(ends_[0], &byte, 1, 0) != 1 || recv(ends_[1], &byte, 1, 0) != 1) {
                return 0;
            }
        }
        const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
        fastest = std::min(fastest, took.count() / a_round);
    }
    return fastest;
}

} // namespace skbscope
