#pragma once
// What a record costs the code that is traced: measured on this host, with messages that this process sends itself.

#include <cstdint>

namespace skbscope {

/// A pair of local sockets. Each message passes a few of the events that a session enables (skb:consume_skb,
/// skb:skb_copy_datagram_iovec and, since 6.12, sock:*).
class MessageLoop {
public:
    MessageLoop();
    ~MessageLoop();
    MessageLoop(const MessageLoop&) = delete;
    MessageLoop& operator=(const MessageLoop&) = delete;

    /// Nanoseconds for a message, as in the fastest of a few rounds; 0: there are no sockets. Takes some milliseconds.
    [[nodiscard]] double ns_a_message() const;
    /// Messages that one call of ns_a_message() sends.
    static constexpr unsigned messages = 5 * 400;

private:
    int ends_[2] = {-1, -1};
};

} // namespace skbscope
