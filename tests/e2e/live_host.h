#pragma once
// A small network of this machine's own kernel to record: two namespaces with veth between them, sockets in them, and
// recorders beside it. Needs root, tracefs and iproute2; missing_for_live_tests() says what lacks.

#include "tests/e2e/program.h"

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <vector>

namespace skbscope::e2e {

/// Why nothing can be recorded live here; empty: it can.
[[nodiscard]] std::string missing_for_live_tests();

/// Names are of this process alone; taken down when the test ends.
class VethPair {
public:
    VethPair();
    ~VethPair();
    VethPair(const VethPair&) = delete;
    VethPair& operator=(const VethPair&) = delete;
    [[nodiscard]] bool is_up() const { return is_up_; }

    /// A datagram socket of the sending or the receiving side. The receiver's is bound to port().
    [[nodiscard]] int sender() const;
    [[nodiscard]] int receiver(int receive_buffer) const;
    /// Of this process alone: events of all namespaces are recorded.
    [[nodiscard]] static int port();

    struct Udp {
        std::uint64_t in = 0, no_ports = 0, in_errors = 0, rcvbuf_errors = 0;
    };
    /// /proc/net/snmp of the receiving side.
    [[nodiscard]] Udp counters() const;

private:
    [[nodiscard]] static int socket_in(const std::string& space);
    std::string from_, to_;
    bool is_up_ = false;
};

/// What went through a socket pair.
struct Passed {
    std::uint64_t sent = 0, read = 0;
};
/// Sends in bursts and reads after each; a large burst now and then overflows the receive buffer.
[[nodiscard]] Passed send_datagrams(const VethPair& veth, std::uint64_t count, int receive_buffer);

/// A program that runs beside the test.
class Beside {
public:
    /// `unread_output`: its standard output is a pipe that nobody reads until read_output(); otherwise /dev/null.
    explicit Beside(std::vector<std::string> words, bool unread_output = false);
    ~Beside(); ///< killed, if it still runs
    Beside(const Beside&) = delete;
    Beside& operator=(const Beside&) = delete;

    /// Until it has said that on standard error; false: it ended before, or five seconds went by.
    [[nodiscard]] bool says(const std::string& text);
    void signal(int number) const;
    [[nodiscard]] pid_t pid() const { return child_; }
    /// Its first child; 0: it has none.
    [[nodiscard]] pid_t child() const;
    /// Nobody will read its standard output any more.
    void close_output();
    /// Everything until its end.
    [[nodiscard]] std::string read_output() const;
    /// Its end; what it said on standard error is in `err`. Status as Outcome's; 137 if it had to be killed.
    Outcome wait(int seconds = 20);
    /// Of /proc/PID/status, kB: "VmHWM".
    [[nodiscard]] std::uint64_t status_kb(const std::string& name) const;

private:
    /// Takes in what it says, for at most so long; false: it said nothing, or has closed its standard error.
    bool listen(long milliseconds);
    pid_t child_ = -1;
    int out_ = -1;
    int err_ = -1;
    std::string said_;
};

/// The names in tracefs's instances that belong to that process.
[[nodiscard]] std::vector<std::string> instances_of(pid_t process);

} // namespace skbscope::e2e
