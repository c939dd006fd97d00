#pragma once
// What the lab has to take back on this host, written down before it is done: a file with one line for each thing. Whoever
// is alive last works through it from the end: the lab itself, the guard process that waits beside it, or the next lab that
// finds the file of a process that is no more.

#include "core/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace skbscope::lab {

/// One thing to take back.
struct Undo {
    enum class Kind : std::uint8_t {
        netns,    ///< a named network namespace (ip-netns(8)) and all that is in it; what: its name
        sysctl,   ///< a setting of the whole host; what: its name, value: what it was
        process,  ///< a process of ours; what: its id, value: its start time as in /proc/PID/stat
        instance, ///< a tracefs instance; what: its name
    };
    Kind kind = Kind::netns;
    std::string what, value;
    bool operator==(const Undo&) const = default;
};

/// "netns skbscope-lab-12-host": one line, without its newline. Names and values hold no white space at their ends and no
/// newline.
[[nodiscard]] std::string to_line(const Undo& undo);
/// The things of a file's text, in its order. A line that is cut or unknown is left out.
[[nodiscard]] std::vector<Undo> parse_undo(std::string_view text);

/// Where the host keeps what an undo touches; tests put a made-up tree there.
struct UndoPlaces {
    std::string proc = "/proc";
    std::string netns = "/run/netns";
    std::string tracing = "/sys/kernel/tracing";
};

/// Takes it back; what is gone already is fine. The error says what resisted.
[[nodiscard]] Result<void> take_back(const Undo& undo, const UndoPlaces& places = {});

/// The list of one lab while it runs.
class UndoList {
public:
    /// Makes the file; `folder` is made if it is not there. Errors: not_permitted, unwritable.
    [[nodiscard]] static Result<UndoList> create(const std::string& folder);
    UndoList(UndoList&& other) noexcept;
    UndoList& operator=(UndoList&&) = delete;
    ~UndoList(); ///< take_back_all(); then the guard is let go

    /// Starts the guard: a child that waits for the end of this process, however it comes, and then works through the file.
    [[nodiscard]] Result<void> start_guard();
    /// To be called before the thing is done.
    [[nodiscard]] Result<void> add(const Undo& undo);
    /// Everything, the last first. What resisted, one line each.
    std::vector<std::string> take_back_all();
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    UndoList() = default;
    std::string path_;
    int file_ = -1;
    int guard_pipe_ = -1;
    std::int32_t guard_ = -1;
};

/// Works through the files of labs whose process is no more and removes them. What was taken back, one line each.
std::vector<std::string> take_back_leftovers(const std::string& folder, const UndoPlaces& places = {});

/// Where the lists stand.
inline constexpr auto undo_folder = "/run/skbscope";

/// Field 22 of /proc/PID/stat, which together with the id names a process for good; empty: there is no such process.
[[nodiscard]] std::string start_time_of(std::int32_t pid, const std::string& proc = "/proc");

} // namespace skbscope::lab
