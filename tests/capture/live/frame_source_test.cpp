// Frames of this machine's own devices. Needs the right to capture.

#include "capture/live/frame_source.h"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <gtest/gtest.h>
#include <iterator>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skbscope {
namespace {

/// From here on the kernel refuses it to this process.
bool deny(unsigned system_call)
{
    sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offsetof(seccomp_data, nr))),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, system_call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{static_cast<unsigned short>(std::size(lines)), lines};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// A network of its own for this process, in which nothing but a loopback device is up.
bool go_where_nobody_sends()
{
    if (unshare(CLONE_NEWNET) != 0) {
        return false;
    }
    const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    const bool is_up = ioctl(socket, SIOCSIFFLAGS, &request) == 0;
    (void)close(socket);
    return is_up;
}

TEST(FrameSource, DoesNotWaitForFramesAlsoWhereASandboxRefusesFcntl)
{
    constexpr int not_possible_here = 2;
    const pid_t child = fork();
    if (child == 0) {
        (void)alarm(5);
        if (!go_where_nobody_sends() || !FrameSource::open("lo", "") || !deny(SYS_fcntl)) {
            _exit(not_possible_here);
        }
        auto source = FrameSource::open("lo", "");
        std::vector<LiveFrame> frames;
        const bool is_right = source && source->read(frames) && source->read(frames) && frames.empty();
        _exit(is_right ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_FALSE(WIFSIGNALED(status)) << "it waited until signal " << WTERMSIG(status);
    if (WEXITSTATUS(status) == not_possible_here) {
        GTEST_SKIP() << "a namespace, capturing or seccomp is not allowed here";
    }
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

} // namespace
} // namespace skbscope
