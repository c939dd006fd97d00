#pragma once
// What must be known of a kernel to read its records: event formats, symbols, task names. A trace.dat carries it;
// a live session fills it from tracefs and /proc. Whoever holds the records owns it.

#include "capture/event_format.h"
#include "capture/symbol_table.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace skbscope {

class TracedKernel {
public:
    std::string release;         ///< "6.1.0-56-amd64"; empty if not known
    std::string clock = "local"; ///< the trace clock: "local", "global", "mono", "boot", …
    std::uint16_t cpus = 0;
    SymbolTable symbols;

    /// The text of events/SYSTEM/NAME/format. The first one of an id counts. False: it does not parse.
    bool add_format(std::string_view system, std::string_view text);
    [[nodiscard]] const EventFormat* format(int event_id) const; ///< null if not described
    [[nodiscard]] std::span<const EventFormat> formats() const { return formats_; }

    /// The text of saved_cmdlines: "171 python3\n".
    void add_tasks(std::string_view text);
    [[nodiscard]] std::string_view task_name(std::int32_t pid) const; ///< empty if not saved
    /// The text of trace_clock, "local global [mono] boot", or the name alone.
    void take_clock(std::string_view text);
    /// "Linux lab 6.1.0-56-amd64 #1 SMP …", as uname -a says it.
    void take_uname(std::string_view text);

private:
    std::vector<EventFormat> formats_;
    std::vector<int> format_by_id_; ///< -1: none
    std::unordered_map<std::int32_t, std::string> tasks_;
};

} // namespace skbscope
