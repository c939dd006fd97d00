// Applications that speak TCP: a client that connects, sends, receives and closes, and a server that accepts one
// connection after the other. Both wait in poll() and then make calls that do not block. The bytes of a stream follow a
// pattern of their place in it, so that the reader knows whether each has arrived, once and in order.

#include "core/kernel/tcp_functions.h"

#include <utility>

namespace skbscope::kernel {

namespace {

constexpr int EAGAIN_ = -11;

void sleep_for(Kernel& k, std::int32_t index, SimTime at)
{
    DeviceEvent event;
    event.kind = DeviceEvent::Kind::task_wakes;
    event.at = at;
    event.index = index;
    k.schedule(std::move(event));
    k.task(index).state = Task::State::sleeping;
}

/// Asleep in poll(): for something to read, …
void poll_readable(Kernel& k, std::int32_t index, SocketIndex sk)
{
    k.socket(sk).waiting_task = index;
    k.task(index).state = Task::State::sleeping;
}

/// … or for room to write (or the end of a handshake).
void poll_writable(Kernel& k, std::int32_t index, SocketIndex sk)
{
    k.socket(sk).sleeping_sender = index;
    k.task(index).state = Task::State::sleeping;
}

std::uint8_t byte_at(std::uint64_t place) { return static_cast<std::uint8_t>(place * 31 + (place >> 8)); }

/// tcp_poll() for POLLOUT; where there is no room it asks to be told (SOCK_NOSPACE).
bool tcp_writable(Kernel& k, SocketIndex sk)
{
    TcpSock& tp = tcp_sk(k, sk);
    if (tp.sk_err != 0 || (tp.shutdown & SEND_SHUTDOWN) != 0 || tp.state == TcpState::close) {
        return true;
    }
    const std::int64_t room = std::int64_t{k.socket(sk).sk_sndbuf} - tp.sk_wmem_queued;
    if (room >= tp.sk_wmem_queued / 2 && tcp_stream_memory_free(k.socket(sk), tp)) {
        return true;
    }
    tp.nospace = true;
    return false;
}

bool tcp_readable(Kernel& k, SocketIndex sk)
{
    const TcpSock& tp = tcp_sk(k, sk);
    return tp.rcv_nxt != tp.copied_seq || (tp.shutdown & RCV_SHUTDOWN) != 0 || tp.sk_err != 0 || tp.state == TcpState::close;
}

SocketIndex sys_tcp_socket(Kernel& k, const Task& task)
{
    Call call(k, fn::__sys_socket);
    Call create(k, fn::inet_create);
    Call init(k, fn::tcp_v4_init_sock);
    const SocketIndex sk = tcp_new_socket(k, task.net);
    tcp_init_sock(k, sk);
    TcpSock& tp = tcp_sk(k, sk);
    tp.nonagle_off = task.tcp.nodelay;
    if (task.tcp.rcvbuf != 0) {
        k.socket(sk).sk_rcvbuf = std::max<std::uint32_t>(task.tcp.rcvbuf, 2304);
        tp.rcvbuf_locked = true;
    }
    if (task.tcp.sndbuf != 0) {
        k.socket(sk).sk_sndbuf = std::max<std::uint32_t>(task.tcp.sndbuf, 4608);
        tp.sndbuf_locked = true;
    }
    return sk;
}

int sys_tcp_bind(Kernel& k, SocketIndex sk, std::uint32_t address, std::uint16_t port)
{
    Call call(k, fn::__sys_bind);
    Call bind(k, fn::inet_bind);
    tcp_lock_sock(k, sk);
    k.socket(sk).rcv_saddr = address;
    const int error = inet_csk_get_port(k, sk, port);
    tcp_release_sock(k, sk);
    return error;
}

int sys_tcp_connect(Kernel& k, SocketIndex sk, std::uint32_t address, std::uint16_t port)
{
    Call call(k, fn::__sys_connect);
    Call outer(k, fn::inet_stream_connect);
    tcp_lock_sock(k, sk);
    int error = 0;
    {
        Call inner(k, fn::__inet_stream_connect);
        error = tcp_v4_connect(k, sk, address, port);
    }
    tcp_release_sock(k, sk);
    return error; // else EINPROGRESS: poll() tells the rest
}

void sys_listen(Kernel& k, SocketIndex sk, std::uint32_t backlog)
{
    Call call(k, fn::__sys_listen);
    Call listen(k, fn::inet_listen);
    const auto most = static_cast<std::uint32_t>(tcp_sysctl(k, sk).somaxconn);
    tcp_lock_sock(k, sk);
    inet_csk_listen_start(k, sk, std::min(backlog, most));
    tcp_release_sock(k, sk);
    (void)tcp_name_queue(k, sk);
}

SocketIndex sys_accept(Kernel& k, SocketIndex sk)
{
    Call call(k, fn::__sys_accept4);
    Call accept(k, fn::inet_accept);
    const SocketIndex child = inet_csk_accept(k, sk);
    if (child != nothing) {
        sock_rps_record_flow(k, child);
    }
    return child;
}

int sys_send(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload)
{
    const std::uint64_t sequence = k.next_sequence();
    Call entry(k, fn::__x64_sys_sendto);
    Call call(k, fn::__sys_sendto);
    Call send(k, fn::__sock_sendmsg);
    Call nosec(k, fn::sock_sendmsg_nosec);
    Call inet(k, fn::inet_sendmsg);
    sock_rps_record_flow(k, sk);
    return tcp_sendmsg(k, sk, payload, sequence);
}

int sys_recv(Kernel& k, SocketIndex sk, std::uint32_t limit, std::vector<std::uint8_t>& out)
{
    Call entry(k, fn::__x64_sys_recvfrom);
    Call call(k, fn::__sys_recvfrom);
    Call receive(k, fn::sock_recvmsg);
    Call nosec(k, fn::sock_recvmsg_nosec);
    Call inet(k, fn::inet_recvmsg);
    sock_rps_record_flow(k, sk);
    return tcp_recvmsg(k, sk, limit, out);
}

void sys_close(Kernel& k, SocketIndex sk)
{
    Call call(k, fn::inet_release);
    tcp_close(k, sk);
}

/// What the application does with what a call gave or took, before its next call.
void work(Kernel& k, std::int32_t index, int result)
{
    if (const Duration takes = k.task(index).tcp.work_per_read; takes > 0_ns && result > 0) {
        sleep_for(k, index, k.cpu().now + takes);
    }
}

/// One call of send(): as much as there is room for. True: more to do.
void send_some(Kernel& k, std::int32_t index)
{
    TcpApp& app = k.task(index).tcp;
    if (!tcp_writable(k, app.connection)) {
        poll_writable(k, index, app.connection);
        return;
    }
    constexpr std::uint64_t most = 1 << 20; // what an application holds in its hand
    const std::uint64_t left = app.to_send - app.sent;
    const std::uint64_t size = std::min({left, app.chunk == 0 ? left : app.chunk, most});
    std::vector<std::uint8_t> payload(size);
    for (std::uint64_t at = 0; at < size; ++at) {
        payload[at] = byte_at(app.sent + at);
    }
    const int result = sys_send(k, app.connection, payload);
    if (result > 0) {
        app.sent += static_cast<std::uint64_t>(result);
        app.bytes_sent += static_cast<std::uint64_t>(result);
    } else if (result != EAGAIN_) {
        ++app.errors;
        app.phase = TcpApp::Phase::close;
    }
    work(k, index, result);
}

void receive_some(Kernel& k, std::int32_t index)
{
    TcpApp& app = k.task(index).tcp;
    if (!tcp_readable(k, app.connection)) {
        poll_readable(k, index, app.connection);
        return;
    }
    std::vector<std::uint8_t> bytes;
    const int result = sys_recv(k, app.connection, app.read_size, bytes);
    for (const std::uint8_t byte : bytes) {
        app.wrong_bytes += byte == byte_at(app.received++) ? 0 : 1;
    }
    app.bytes_received += bytes.size();
    if (result == 0) {
        app.end_of_stream = true;
    } else if (result < 0 && result != EAGAIN_) {
        ++app.errors;
        app.phase = TcpApp::Phase::close;
    }
    work(k, index, result);
}

void begin_connection(TcpApp& app)
{
    app.sent = app.received = 0;
    app.end_of_stream = false;
}

/// The body of a conversation: both sides walk through it, the client beginning with its sending, the server with its
/// receiving. True: it is over and the socket is to be closed.
bool talk(Kernel& k, std::int32_t index, bool send_first)
{
    TcpApp& app = k.task(index).tcp;
    const bool sending_left = app.sent < app.to_send;
    const bool receiving_left = !app.end_of_stream && (app.to_receive == 0 ? !send_first || app.wait_for_end : app.received < app.to_receive);
    if (send_first ? sending_left : !receiving_left && sending_left) {
        send_some(k, index);
        return false;
    }
    if (receiving_left) {
        receive_some(k, index);
        return false;
    }
    if (!send_first && app.wait_for_end && !app.end_of_stream) { // a server that leaves it to the client to close first
        receive_some(k, index);
        return false;
    }
    return true;
}

void step_client(Kernel& k, std::int32_t index)
{
    Task& task = k.task(index);
    TcpApp& app = task.tcp;
    switch (app.phase) {
    case TcpApp::Phase::start:
        if (k.cpu().now < task.next_send) {
            sleep_for(k, index, task.next_send);
            return;
        }
        if (app.connections_left == 0) {
            task.state = Task::State::finished;
            return;
        }
        --app.connections_left;
        begin_connection(app);
        app.connection = sys_tcp_socket(k, task);
        if (task.bind_port != 0 || task.bind_address != 0) {
            if (sys_tcp_bind(k, app.connection, task.bind_address, task.bind_port) != 0) {
                ++app.errors;
                app.phase = TcpApp::Phase::close;
                return;
            }
        }
        if (sys_tcp_connect(k, app.connection, task.destination, task.destination_port) != 0) {
            ++app.errors;
            app.phase = TcpApp::Phase::close;
            return;
        }
        app.phase = TcpApp::Phase::connecting;
        return;
    case TcpApp::Phase::connecting: {
        const TcpSock& tp = tcp_sk(k, app.connection);
        if (tp.state == TcpState::syn_sent || tp.state == TcpState::syn_recv) {
            poll_writable(k, index, app.connection);
            return;
        }
        if (tp.sk_err != 0 || tp.state == TcpState::close) {
            ++app.errors;
            app.phase = TcpApp::Phase::close;
            return;
        }
        app.phase = TcpApp::Phase::talking;
        return;
    }
    case TcpApp::Phase::talking:
        if (talk(k, index, true)) {
            app.phase = TcpApp::Phase::close;
        }
        return;
    case TcpApp::Phase::close:
        sys_close(k, std::exchange(app.connection, nothing));
        ++app.done;
        app.phase = TcpApp::Phase::start;
        task.next_send = k.cpu().now + task.gap;
        return;
    }
}

void step_server(Kernel& k, std::int32_t index)
{
    Task& task = k.task(index);
    TcpApp& app = task.tcp;
    switch (app.phase) {
    case TcpApp::Phase::start:
        app.listener = sys_tcp_socket(k, task);
        if (sys_tcp_bind(k, app.listener, task.bind_address, task.bind_port) != 0) {
            ++app.errors;
            task.state = Task::State::finished;
            return;
        }
        sys_listen(k, app.listener, app.backlog);
        app.phase = TcpApp::Phase::connecting;
        return;
    case TcpApp::Phase::connecting:
        if (!app.accepts || tcp_sk(k, app.listener).accept_queue.empty()) {
            poll_readable(k, index, app.listener);
            return;
        }
        app.connection = sys_accept(k, app.listener);
        if (app.connection != nothing) {
            begin_connection(app);
            app.phase = TcpApp::Phase::talking;
        }
        return;
    case TcpApp::Phase::talking:
        if (talk(k, index, false)) {
            app.phase = TcpApp::Phase::close;
        }
        return;
    case TcpApp::Phase::close:
        sys_close(k, std::exchange(app.connection, nothing));
        ++app.done;
        app.phase = TcpApp::Phase::connecting;
        return;
    }
}

} // namespace

void step_tcp_task(Kernel& k, std::int32_t index)
{
    if (k.task(index).program == Program::tcp_client) {
        step_client(k, index);
    } else {
        step_server(k, index);
    }
}

} // namespace skbscope::kernel
