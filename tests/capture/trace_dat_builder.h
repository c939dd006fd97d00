#pragma once
// Writes small trace.dat files for tests: real layout, invented records. Versions 6 and 7, plain or zstd.

#include <cstdint>
#include <cstring>
#include <fmt/format.h>
#include <map>
#include <string>
#include <vector>
#include <zstd.h>

namespace skbscope::testing {

class TraceDatBuilder {
public:
    enum class Layout { version_6, version_7, version_7_zstd };
    static constexpr std::uint8_t hardirq = 0x08;
    static constexpr std::uint8_t softirq = 0x10;
    static constexpr std::uint8_t task = 0;

    TraceDatBuilder()
    {
        add_format("ftrace", "function", 1, {{"ip", 8}, {"parent_ip", 8}});
        add_format("net", "netif_receive_skb", 20, {{"skbaddr", 8}, {"len", 4}, {"name", 4, true}});
        add_format("net", "napi_gro_receive_entry", 21,
                   {{"name", 4, true}, {"pad", 4}, {"skbaddr", 8}, {"protocol", 2}, {"pad2", 2}, {"len", 4}});
        add_format("net", "napi_gro_receive_exit", 22, {{"ret", 4}});
        add_format(
            "skb", "kfree_skb", 23,
            {{"skbaddr", 8}, {"location", 8}, {"protocol", 2}, {"pad", 2}, {"reason", 4}},
            R"("…", __print_symbolic(REC->reason, { 2, "NOT_SPECIFIED" }, { 3, "NO_SOCKET" }, { 6, "SOCKET_RCVBUFF" }, { 9, "OF_TOMORROW" }))");
        add_format("skb", "consume_skb", 24, {{"skbaddr", 8}});
        add_format("irq", "softirq_entry", 25, {{"vec", 4}});
        add_format("irq", "softirq_exit", 26, {{"vec", 4}});
        add_format("irq", "irq_handler_entry", 27, {{"irq", 4}, {"name", 4, true}});
        add_format("irq", "irq_handler_exit", 28, {{"irq", 4}, {"ret", 4}});
        add_format("irq", "softirq_raise", 29, {{"vec", 4}});
        add_format("net", "net_dev_queue", 30, {{"skbaddr", 8}, {"len", 4}, {"name", 4, true}});
        add_format("net", "net_dev_start_xmit", 31, {{"skbaddr", 8}, {"len", 4}, {"name", 4, true}});
        add_format("net", "net_dev_xmit", 32, {{"skbaddr", 8}, {"len", 4}, {"name", 4, true}, {"rc", 4}});
        add_format("qdisc", "qdisc_dequeue", 33, {{"skbaddr", 8}, {"packets", 4}, {"pad", 4}});
        add_format("sock", "sk_data_ready", 34, {{"skaddr", 8}, {"family", 2}, {"protocol", 2}, {"pad", 4}});
        add_format("skb", "skb_copy_datagram_iovec", 36, {{"skbaddr", 8}, {"len", 4}, {"pad", 4}});
        add_format("sock", "sock_recv_length", 35, {{"sk", 8}, {"family", 2}, {"protocol", 2}, {"ret", 4}, {"flags", 4}});
    }

    // ---- records; times only grow
    // ------------------------------------------------------------------------------------
    /// Whose name the events that follow bear.
    TraceDatBuilder& device(const std::string& name)
    {
        device_ = name;
        return *this;
    }
    TraceDatBuilder& on(std::uint16_t cpu, std::uint8_t flags, std::int32_t pid = 0)
    {
        cpu_ = cpu;
        flags_ = flags;
        pid_ = pid;
        return *this;
    }
    TraceDatBuilder& call(const std::string& function, const std::string& caller)
    {
        std::vector<std::uint8_t> data = header(1);
        put(data, address_of(function));
        put(data, address_of(caller) + 8);
        return add(std::move(data));
    }
    TraceDatBuilder& gro_entry(std::uint64_t skb, std::uint32_t length)
    {
        std::vector<std::uint8_t> data = header(21);
        put(data, device_at(32)); // behind the fields
        put(data, std::uint32_t{0});
        put(data, skb);
        put(data, std::uint16_t{0x0800});
        put(data, std::uint16_t{0});
        put(data, length);
        return text(std::move(data), device_);
    }
    TraceDatBuilder& gro_exit(std::uint32_t verdict)
    {
        std::vector<std::uint8_t> data = header(22);
        put(data, verdict);
        return add(std::move(data));
    }
    TraceDatBuilder& received(std::uint64_t skb, std::uint32_t length)
    {
        std::vector<std::uint8_t> data = header(20);
        put(data, skb);
        put(data, length);
        put(data, device_at(24));
        return text(std::move(data), device_);
    }
    TraceDatBuilder& queued(std::uint64_t skb, std::uint32_t length) { return device_event(30, skb, length); }
    TraceDatBuilder& starts(std::uint64_t skb, std::uint32_t length) { return device_event(31, skb, length); }
    TraceDatBuilder& transmitted(std::uint64_t skb, std::uint32_t length, std::uint32_t rc = 0)
    {
        std::vector<std::uint8_t> data = header(32);
        put(data, skb);
        put(data, length);
        put(data, device_at(28));
        put(data, rc);
        return text(std::move(data), device_);
    }
    TraceDatBuilder& dequeued(std::uint64_t skb, std::uint32_t packets)
    {
        std::vector<std::uint8_t> data = header(33);
        put(data, skb);
        put(data, packets);
        put(data, std::uint32_t{0});
        return add(std::move(data));
    }
    TraceDatBuilder& dropped(std::uint64_t skb, const std::string& where, std::uint32_t reason)
    {
        std::vector<std::uint8_t> data = header(23);
        put(data, skb);
        put(data, address_of(where) + 4);
        put(data, std::uint16_t{0x0800});
        put(data, std::uint16_t{0});
        put(data, reason);
        return add(std::move(data));
    }
    TraceDatBuilder& consumed(std::uint64_t skb)
    {
        std::vector<std::uint8_t> data = header(24);
        put(data, skb);
        return add(std::move(data));
    }
    TraceDatBuilder& copied(std::uint64_t skb)
    {
        std::vector<std::uint8_t> data = header(36);
        put(data, skb);
        put(data, std::uint64_t{0});
        return add(std::move(data));
    }
    /// A kprobe event of that function, which tells its sk_buff.
    TraceDatBuilder& probed(const std::string& function, std::uint64_t skb)
    {
        const auto [at, is_new] = probes_.emplace(function, static_cast<std::uint16_t>(40 + probes_.size()));
        if (is_new) {
            add_format("kp", function, at->second, {{"__probe_ip", 8}, {"skb", 8}});
        }
        std::vector<std::uint8_t> data = header(at->second);
        put(data, address_of(function));
        put(data, skb);
        return add(std::move(data));
    }
    /// Events of that system were not asked for.
    TraceDatBuilder& without(const std::string& system)
    {
        formats_.erase(system);
        return *this;
    }
    TraceDatBuilder& number_event(std::uint16_t id, std::uint32_t number)
    {
        std::vector<std::uint8_t> data = header(id);
        put(data, number);
        put(data, std::uint32_t{0});
        return add(std::move(data));
    }
    /// Of an IPv4 socket.
    TraceDatBuilder& data_ready(std::uint64_t socket, std::uint16_t protocol)
    {
        std::vector<std::uint8_t> data = header(34);
        put(data, socket);
        put(data, std::uint16_t{2});
        put(data, protocol);
        put(data, std::uint32_t{0});
        return add(std::move(data));
    }
    TraceDatBuilder& read_returns(std::uint64_t socket, std::uint16_t protocol, std::uint32_t length)
    {
        std::vector<std::uint8_t> data = header(35);
        put(data, socket);
        put(data, std::uint16_t{2});
        put(data, protocol);
        put(data, length);
        put(data, std::uint32_t{0});
        return add(std::move(data));
    }
    TraceDatBuilder& softirq_entry() { return number_event(25, 3); }
    TraceDatBuilder& softirq_exit() { return number_event(26, 3); }
    TraceDatBuilder& wait(std::uint64_t ns)
    {
        now_ += ns;
        return *this;
    }
    /// The clock steps back; what follows stands in a new page of the current CPU.
    TraceDatBuilder& back(std::uint64_t ns)
    {
        now_ -= ns;
        cpus_[cpu_].push_back({now_, {}, now_});
        return *this;
    }
    /// Begins a new page of the current CPU that says so many records were lost before it.
    TraceDatBuilder& lost(std::uint64_t count)
    {
        cpus_[cpu_].push_back({now_, {}, now_, true, count});
        return *this;
    }

    // ---- the file
    // -----------------------------------------------------------------------------------------------------
    [[nodiscard]] std::string file(Layout layout) const
    {
        return layout == Layout::version_6 ? version_6() : version_7(layout == Layout::version_7_zstd);
    }

private:
    using Bytes = std::vector<std::uint8_t>;
    struct Field {
        std::string name;
        int size;
        bool data_loc = false;
    };
    struct Page {
        std::uint64_t start;
        Bytes data;
        std::uint64_t last;
        bool lost = false;
        std::uint64_t count = 0;
    };
    static constexpr std::size_t page_size = 4096;

    template <typename T>
    static void put(Bytes& out, T value)
    {
        const auto* raw = reinterpret_cast<const std::uint8_t*>(&value);
        out.insert(out.end(), raw, raw + sizeof value);
    }
    static void put_text(Bytes& out, const std::string& value) // with its NUL
    {
        out.insert(out.end(), value.begin(), value.end());
        out.push_back(0);
    }
    /// A field of the kind __data_loc that points to the device's name, which stands at that byte.
    [[nodiscard]] std::uint32_t device_at(std::uint32_t offset) const { return static_cast<std::uint32_t>(device_.size() + 1) << 16 | offset; }
    static void put_raw(Bytes& out, const std::string& value)
    {
        out.insert(out.end(), value.begin(), value.end());
    }

    void add_format(const std::string& system, const std::string& name, int id,
                    const std::vector<Field>& fields, const std::string& print = "\"\"")
    {
        std::string text = fmt::format("name: {}\nID: {}\nformat:\n", name, id);
        const auto field = [&](const std::string& declaration, int offset, int size) {
            text += fmt::format("\tfield:{};\toffset:{};\tsize:{};\tsigned:0;\n", declaration, offset, size);
        };
        field("unsigned short common_type", 0, 2);
        field("unsigned char common_flags", 2, 1);
        field("unsigned char common_preempt_count", 3, 1);
        field("int common_pid", 4, 4);
        text += "\n";
        int offset = 8;
        for (const Field& one : fields) {
            field(one.data_loc ? "__data_loc char[] " + one.name : "unsigned long " + one.name, offset,
                  one.size);
            offset += one.size;
        }
        text += "\nprint fmt: " + print + "\n";
        formats_[system].push_back(text);
    }

    std::uint64_t address_of(const std::string& function)
    {
        const auto [at, is_new] = symbols_.emplace(function, 0xffffffff81000000ULL + symbols_.size() * 0x100);
        return at->second;
    }

    Bytes header(std::uint16_t id) const
    {
        Bytes data;
        put(data, id);
        put(data, flags_);
        put(data, std::uint8_t{0});
        put(data, pid_);
        return data;
    }
    TraceDatBuilder& device_event(std::uint16_t id, std::uint64_t skb, std::uint32_t length)
    {
        std::vector<std::uint8_t> data = header(id);
        put(data, skb);
        put(data, length);
        put(data, device_at(24));
        return text(std::move(data), device_);
    }
    TraceDatBuilder& text(Bytes data, const std::string& value)
    {
        put_text(data, value);
        return add(std::move(data));
    }
    TraceDatBuilder& add(Bytes data)
    {
        now_ += 100;
        auto& pages = cpus_[cpu_];
        data.resize((data.size() + 3) & ~std::size_t{3});
        if (pages.empty() || pages.back().data.size() + data.size() + 16 > page_size - 32) {
            pages.push_back({now_, {}, now_});
        }
        Page& page = pages.back();
        std::uint64_t delta = now_ - page.last;
        if (delta >= (1U << 27)) { // time extend
            put(page.data, static_cast<std::uint32_t>(30 | (delta & ((1U << 27) - 1)) << 5));
            put(page.data, static_cast<std::uint32_t>(delta >> 27));
            delta = 0;
        }
        if (data.size() <= 28 * 4) {
            put(page.data, static_cast<std::uint32_t>(data.size() / 4 | delta << 5));
        } else {
            put(page.data, static_cast<std::uint32_t>(delta << 5));
            put(page.data, static_cast<std::uint32_t>(data.size() + 4));
        }
        page.data.insert(page.data.end(), data.begin(), data.end());
        page.last = now_;
        return *this;
    }

    Bytes pages_of(std::uint16_t cpu) const
    {
        Bytes out;
        const auto at = cpus_.find(cpu);
        if (at == cpus_.end()) {
            return out;
        }
        for (const Page& page : at->second) {
            Bytes raw;
            put(raw, page.start);
            std::uint64_t commit = page.data.size();
            if (page.lost) {
                commit |= std::uint64_t{3} << 30;
            }
            put(raw, commit);
            raw.insert(raw.end(), page.data.begin(), page.data.end());
            if (page.lost) {
                put(raw, page.count);
            }
            raw.resize(page_size);
            out.insert(out.end(), raw.begin(), raw.end());
        }
        return out;
    }
    std::uint16_t cpu_count() const
    {
        return static_cast<std::uint16_t>(cpus_.empty() ? 1 : cpus_.rbegin()->first + 1);
    }

    Bytes ftrace_formats() const
    {
        Bytes out;
        const auto& formats = formats_.at("ftrace");
        put(out, static_cast<std::uint32_t>(formats.size()));
        for (const std::string& text : formats) {
            put(out, static_cast<std::uint64_t>(text.size()));
            put_raw(out, text);
        }
        return out;
    }
    Bytes event_formats() const
    {
        Bytes out;
        put(out, static_cast<std::uint32_t>(formats_.size() - 1));
        for (const auto& [system, formats] : formats_) {
            if (system == "ftrace") {
                continue;
            }
            put_text(out, system);
            put(out, static_cast<std::uint32_t>(formats.size()));
            for (const std::string& text : formats) {
                put(out, static_cast<std::uint64_t>(text.size()));
                put_raw(out, text);
            }
        }
        return out;
    }
    std::string kallsyms() const
    {
        std::string out;
        for (const auto& [name, address] : symbols_) {
            out += fmt::format("{:016x} t {}\n", address, name);
        }
        return out;
    }

    std::string start(char version) const
    {
        std::string out("\x17\x08\x44tracing", 10);
        out += version;
        out += '\0';
        out += '\0'; // little endian
        out += '\x08';
        const std::uint32_t size = page_size;
        out.append(reinterpret_cast<const char*>(&size), 4);
        return out;
    }

    std::string version_6() const
    {
        Bytes out;
        put_raw(out, start('6'));
        for (const char* name : {"header_page", "header_event"}) {
            put_text(out, name);
            put(out, std::uint64_t{4});
            put_raw(out, "abcd");
        }
        const Bytes ftrace = ftrace_formats();
        out.insert(out.end(), ftrace.begin(), ftrace.end());
        const Bytes events = event_formats();
        out.insert(out.end(), events.begin(), events.end());
        const std::string symbols = kallsyms();
        put(out, static_cast<std::uint32_t>(symbols.size()));
        put_raw(out, symbols);
        put(out, std::uint32_t{0}); // printk
        const std::string tasks = "171 reader\n172 writer\n";
        put(out, static_cast<std::uint64_t>(tasks.size()));
        put_raw(out, tasks);
        put(out, std::uint32_t{cpu_count()});
        put_raw(out, std::string("options  \0", 10));
        put(out, std::uint16_t{5});
        const std::string uname = "Linux test 6.1.0-56-amd64 #1";
        put(out, static_cast<std::uint32_t>(uname.size() + 1));
        put_text(out, uname);
        put(out, std::uint16_t{0});
        put_raw(out, std::string("flyrecord\0", 10));
        std::size_t offset =
            (out.size() + 16 * std::size_t{cpu_count()} + page_size - 1) / page_size * page_size;
        const std::size_t first = offset;
        Bytes data;
        for (std::uint16_t cpu = 0; cpu < cpu_count(); ++cpu) {
            const Bytes pages = pages_of(cpu);
            put(out, static_cast<std::uint64_t>(offset));
            put(out, static_cast<std::uint64_t>(pages.size()));
            offset += pages.size();
            data.insert(data.end(), pages.begin(), pages.end());
        }
        out.resize(first);
        out.insert(out.end(), data.begin(), data.end());
        return {out.begin(), out.end()};
    }

    static Bytes pack(const Bytes& plain)
    {
        Bytes packed(ZSTD_compressBound(plain.size()));
        packed.resize(ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 3));
        Bytes out;
        put(out, static_cast<std::uint32_t>(packed.size()));
        put(out, static_cast<std::uint32_t>(plain.size()));
        out.insert(out.end(), packed.begin(), packed.end());
        return out;
    }

    std::string version_7(bool zstd) const
    {
        Bytes out;
        put_raw(out, start('7'));
        put_text(out, zstd ? "zstd" : "none");
        put_text(out, "1");
        const std::size_t options_at = out.size();
        put(out, std::uint64_t{0});
        const auto section = [&](std::uint16_t id, const Bytes& plain) {
            const auto offset = static_cast<std::uint64_t>(out.size());
            const Bytes body = zstd ? pack(plain) : plain;
            put(out, id);
            put(out, static_cast<std::uint16_t>(zstd ? 1 : 0));
            put(out, std::uint32_t{0});
            put(out, static_cast<std::uint64_t>(body.size()));
            out.insert(out.end(), body.begin(), body.end());
            return offset;
        };
        const std::uint64_t ftrace = section(17, ftrace_formats());
        const std::uint64_t events = section(18, event_formats());
        Bytes symbols;
        const std::string names = kallsyms();
        put(symbols, static_cast<std::uint32_t>(names.size()));
        put_raw(symbols, names);
        const std::uint64_t kallsyms_at = section(19, symbols);
        Bytes tasks;
        const std::string task_names = "171 reader\n172 writer\n";
        put(tasks, static_cast<std::uint64_t>(task_names.size()));
        put_raw(tasks, task_names);
        const std::uint64_t tasks_at = section(21, tasks);

        Bytes options;
        const auto option = [&](std::uint16_t id, const Bytes& data) {
            put(options, id);
            put(options, static_cast<std::uint32_t>(data.size()));
            options.insert(options.end(), data.begin(), data.end());
        };
        const auto offset_option = [&](std::uint16_t id, std::uint64_t offset) {
            Bytes data;
            put(data, offset);
            option(id, data);
        };
        Bytes uname;
        put_text(uname, "Linux test 6.1.0-56-amd64 #1");
        option(5, uname);
        offset_option(17, ftrace);
        offset_option(18, events);
        offset_option(19, kallsyms_at);
        offset_option(21, tasks_at);
        // As trace-cmd does: the records behind these options, their index in a second options section at the
        // end.
        const std::size_t first_options = out.size();
        std::memcpy(out.data() + options_at, &first_options, 8);
        Bytes done;
        put(done, std::uint64_t{0});
        option(0, done);
        const std::uint64_t written = section(0, options);
        (void)written;
        const std::size_t buffer_at = out.size();
        put(out, std::uint16_t{3});
        put(out, static_cast<std::uint16_t>(zstd ? 1 : 0));
        put(out, std::uint32_t{0});
        put(out, std::uint64_t{0}); // size, below
        Bytes index;
        put(index, static_cast<std::uint64_t>(buffer_at));
        put_text(index, "");
        put_text(index, "mono");
        put(index, static_cast<std::uint32_t>(page_size));
        put(index, std::uint32_t{cpu_count()});
        for (std::uint16_t cpu = 0; cpu < cpu_count(); ++cpu) {
            out.resize((out.size() + page_size - 1) / page_size * page_size);
            const std::size_t at = out.size();
            const Bytes pages = pages_of(cpu);
            if (zstd) {
                put(out, std::uint32_t{static_cast<std::uint32_t>(pages.empty() ? 0 : 1)});
                if (!pages.empty()) {
                    const Bytes packed = pack(pages);
                    out.insert(out.end(), packed.begin(), packed.end());
                }
            } else {
                out.insert(out.end(), pages.begin(), pages.end());
            }
            put(index, std::uint32_t{cpu});
            put(index, static_cast<std::uint64_t>(at));
            put(index, static_cast<std::uint64_t>(pages.empty() ? 0 : out.size() - at));
        }
        const std::uint64_t buffer_size = out.size() - buffer_at - 16;
        std::memcpy(out.data() + buffer_at + 8, &buffer_size, 8);
        options.clear();
        option(3, index);
        option(0, done);
        const std::uint64_t second_options = section(0, options);
        patch_next(out, first_options, second_options, zstd);
        return {out.begin(), out.end()};
    }

    /// The first options section ends in DONE with the offset of the second.
    static void patch_next(Bytes& out, std::size_t section, std::uint64_t next, bool zstd)
    {
        std::uint64_t size = 0;
        std::memcpy(&size, out.data() + section + 8, 8);
        if (!zstd) {
            std::memcpy(out.data() + section + 16 + size - 8, &next, 8);
            return;
        }
        // Packed: leave it plain instead.
        std::uint32_t packed = 0;
        std::uint32_t plain = 0;
        std::memcpy(&packed, out.data() + section + 16, 4);
        std::memcpy(&plain, out.data() + section + 20, 4);
        Bytes body(plain);
        ZSTD_decompress(body.data(), body.size(), out.data() + section + 24, packed);
        std::memcpy(body.data() + body.size() - 8, &next, 8);
        // Stored without compression the section is longer: it goes to the end, and the header points there.
        const auto at = static_cast<std::uint64_t>(out.size());
        put(out, std::uint16_t{0});
        put(out, std::uint16_t{0});
        put(out, std::uint32_t{0});
        put(out, static_cast<std::uint64_t>(body.size()));
        out.insert(out.end(), body.begin(), body.end());
        const std::size_t options_at = 10 + 2 + 2 + 4 + 5 + 2;
        std::memcpy(out.data() + options_at, &at, 8);
    }

    std::map<std::string, std::vector<std::string>> formats_;
    std::map<std::string, std::uint16_t> probes_; ///< ids of their events
    std::map<std::string, std::uint64_t> symbols_;
    std::map<std::uint16_t, std::vector<Page>> cpus_;
    std::uint64_t now_ = 1'000'000'000;
    std::uint16_t cpu_ = 0;
    std::uint8_t flags_ = 0;
    std::int32_t pid_ = 0;
    std::string device_ = "eth0";
};

} // namespace skbscope::testing
