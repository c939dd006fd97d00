#pragma once
// Reads trace-cmd's trace.dat (file versions 6 and 7, uncompressed, zstd or zlib) into raw records in time
// order. Owns the container, the ring-buffer pages, the event formats and the symbol table; knows nothing of
// packets.
//
// The container is read here and not through libtracecmd: that library gives up on a file that was cut
// anywhere (its index stands at the end) and reads past the end of damaged pages. Here every length is
// checked against what is there, and a cut recording yields what is whole. The format is trace-cmd.dat.v6(5)
// and trace-cmd.dat.v7(5); a test holds the reader against `trace-cmd report`.

#include "core/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace skbscope {

/// Where a field of an event lies in its record; looked up once, read often.
struct EventField {
    std::uint16_t offset = 0;
    std::uint16_t size = 0; ///< 0: the event has no such field
    bool is_signed = false;
    bool is_data_loc = false; ///< the value says where the bytes are: low 16 bits offset, high 16 bits length

    explicit operator bool() const { return size != 0; }
    /// The number in the record; 0 where the record is too short or the field is absent.
    [[nodiscard]] std::uint64_t read(std::span<const std::uint8_t> record) const;
    /// The bytes of an array or of a data_loc field; empty where they do not fit into the record.
    [[nodiscard]] std::span<const std::uint8_t> bytes(std::span<const std::uint8_t> record) const;
    /// The text of a char array or string field, up to its NUL.
    [[nodiscard]] std::string_view text(std::span<const std::uint8_t> record) const;
};

/// One event's layout, from its `format` file in the recording.
struct EventFormat {
    int id = -1;
    std::string system; ///< "net"; "ftrace" for the tracer's own
    std::string name;   ///< "net_dev_queue"
    std::unordered_map<std::string, EventField> fields;
    std::string print_format; ///< the "print fmt:" line

    [[nodiscard]] EventField field(const std::string& field_name) const;
    /// Numbers and names that the print format gives for `REC->field` through __print_symbolic.
    [[nodiscard]] std::vector<std::pair<std::int64_t, std::string>>
    symbols_of(std::string_view field_name) const;
};

/// One record. `data` is good as long as the TraceDat.
struct RawRecord {
    std::uint64_t time_ns = 0;
    std::span<const std::uint8_t> data; ///< common header included
    std::uint64_t lost_before =
        0; ///< records of this CPU missing just before; unknown_loss: some, not counted
    std::int32_t pid = 0;
    std::uint16_t event_id = 0;
    std::uint16_t cpu = 0;
    std::uint8_t flags = 0;         ///< TRACE_FLAG_* of include/linux/trace_events.h
    std::uint8_t preempt_count = 0; ///< low half: preemption depth

    static constexpr std::uint64_t unknown_loss = ~std::uint64_t{0};
};

/// Kernel symbols by address.
class SymbolTable {
public:
    /// Takes the text of /proc/kallsyms; lines that do not parse are left out.
    void parse(std::string_view kallsyms);
    /// Name of the function that holds the address (without module), and how far into it; empty if unknown.
    struct Hit {
        std::string_view name;
        std::uint64_t start = 0;
        bool in_module = false;
    };
    [[nodiscard]] Hit find(std::uint64_t address) const;
    [[nodiscard]] bool empty() const { return symbols_.empty(); }
    [[nodiscard]] bool contains(std::string_view name) const; ///< looks at each symbol

private:
    struct Symbol {
        std::uint64_t address;
        std::string name;
        bool in_module;
    };
    std::vector<Symbol> symbols_; ///< by address, one each
};

class TraceDat {
public:
    /// Opens and indexes the file. Errors: not_found, unreadable, foreign, cut (before any event), corrupt,
    /// unsupported.
    [[nodiscard]] static Result<TraceDat> open(const std::string& path);

    TraceDat(TraceDat&&) noexcept;
    TraceDat& operator=(TraceDat&&) noexcept;
    ~TraceDat();

    [[nodiscard]] const std::string& path() const;
    /// "6.1.0-56-amd64"; empty if the file does not say.
    [[nodiscard]] const std::string& kernel_release() const;
    /// The trace clock: "local", "global", "mono", "boot", …
    [[nodiscard]] const std::string& clock() const;
    [[nodiscard]] std::uint16_t cpu_count() const;
    [[nodiscard]] const EventFormat* format(int event_id) const; ///< null if the file does not describe it
    [[nodiscard]] const std::vector<EventFormat>& formats() const;
    [[nodiscard]] const SymbolTable& symbols() const;
    /// Name of the task; empty if not saved.
    [[nodiscard]] std::string_view task_name(std::int32_t pid) const;
    /// What is missing or broken in the file, one line each; empty for a whole one.
    [[nodiscard]] const std::vector<std::string>& damage() const;

    /// Calls `take` for each record of all CPUs in time order. May be called again.
    void for_each(const std::function<void(const RawRecord&)>& take) const;

private:
    struct State;
    explicit TraceDat(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace skbscope
