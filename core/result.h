#pragma once
// The one way core/ and capture/ report that something went wrong: a closed list of kinds, what it was about,
// where, and the remedy. Words for a person are joined at the edge (app/, ui/) by describe().

#include <string>
#include <tl/expected.hpp>

namespace skbscope {

enum class ErrorKind {
    not_found,     ///< a file, function, lesson, setting that does not exist
    unreadable,    ///< exists but cannot be opened or read
    unwritable,    ///< the output cannot be written
    foreign,       ///< readable, but not a format that this reader knows
    cut,           ///< ends in the middle of something
    corrupt,       ///< a checksum or a length inside it is wrong
    invalid,       ///< an impossible value, an unknown key, a syntax error
    unsupported,   ///< well formed, but this build or version cannot do it
    not_permitted, ///< this host does not allow it
    usage,         ///< the command line is wrong
};

/// One error. `where` is "file:line:column", "file at byte N" or a bare name; `what` says the reason and `remedy`
/// (may be empty) what a person can do. None of them ends in a full stop or holds a newline.
struct Error {
    ErrorKind kind = ErrorKind::invalid;
    std::string where;
    std::string what;
    std::string remedy;

    /// One line: "where: what (remedy)".
    [[nodiscard]] std::string describe() const
    {
        std::string line = where.empty() ? what : where + ": " + what;
        return remedy.empty() ? line : line + " (" + remedy + ")";
    }
};

/// The exit status of the program for an error of this kind: 2 usage, 3 bad input, 4 not permitted or not supported.
[[nodiscard]] constexpr int exit_status(ErrorKind kind)
{
    switch (kind) {
    case ErrorKind::usage: return 2;
    case ErrorKind::not_permitted:
    case ErrorKind::unsupported: return 4;
    default: return 3;
    }
}

template <typename T>
using Result = tl::expected<T, Error>;

/// `return fail(ErrorKind::cut, path, "…");`
[[nodiscard]] inline tl::unexpected<Error> fail(ErrorKind kind, std::string where, std::string what,
                                                std::string remedy = {})
{
    return tl::unexpected<Error>(Error{kind, std::move(where), std::move(what), std::move(remedy)});
}

} // namespace skbscope
