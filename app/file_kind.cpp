#include "app/file_kind.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace skbscope::app {
namespace {

namespace fs = std::filesystem;

struct Magic {
    std::string_view bytes;
    FileKind kind;
};

// pcap: microseconds and nanoseconds, in either byte order (pcap-savefile(5)). pcapng: the type of its first
// block reads the same in both orders. trace.dat: trace-cmd.dat(5).
constexpr std::array magics{
    Magic{"\x0a\x0d\x0d\x0a", FileKind::pcapng}, Magic{"\xd4\xc3\xb2\xa1", FileKind::pcap},
    Magic{"\xa1\xb2\xc3\xd4", FileKind::pcap},   Magic{"\x4d\x3c\xb2\xa1", FileKind::pcap},
    Magic{"\xa1\xb2\x3c\x4d", FileKind::pcap},   Magic{"\x17\x08\x44tracing", FileKind::trace_dat},
};

constexpr auto known_kinds =
    "skbscope opens its own recordings, trace.dat, pcap and pcapng captures, scenarios and lessons";

bool is_text(std::string_view bytes)
{
    return std::ranges::none_of(bytes, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 && c != '\n' && c != '\r' && c != '\t';
    });
}

Result<FileKind> kind_of_folder(const std::string& path)
{
    std::error_code ignored;
    if (fs::is_regular_file(fs::path(path) / "lesson.md", ignored)) {
        return FileKind::lesson;
    }
    return fail(ErrorKind::foreign, path, "is a folder without a lesson.md", known_kinds);
}

Result<FileKind> kind_of_bytes(const std::string& path, std::string_view head)
{
    if (head.empty()) {
        return fail(ErrorKind::cut, path, "is empty", known_kinds);
    }
    for (const auto& magic : magics) {
        if (head.starts_with(magic.bytes)) {
            return magic.kind;
        }
        if (magic.bytes.starts_with(head)) {
            return fail(ErrorKind::cut, path, "ends within its first bytes", "copy the file again");
        }
    }
    if (!is_text(head)) {
        return fail(ErrorKind::foreign, path, "is of no kind that is known here", known_kinds);
    }
    const auto name = fs::path(path).filename();
    if (name == "lesson.md") {
        return FileKind::lesson;
    }
    if (name.extension() == ".yaml" || name.extension() == ".yml" || head.starts_with("%YAML")) {
        return FileKind::scenario;
    }
    return fail(ErrorKind::foreign, path, "is text, but no scenario (.yaml) and no lesson (lesson.md)",
                known_kinds);
}

} // namespace

Result<FileKind> file_kind(const std::string& path)
{
    std::error_code error;
    const auto status = fs::status(path, error);
    if (status.type() == fs::file_type::not_found) {
        return fail(ErrorKind::not_found, path, "no such file");
    }
    if (status.type() == fs::file_type::none) {
        return fail(ErrorKind::unreadable, path, "cannot be looked at: " + error.message());
    }
    if (fs::is_directory(status)) {
        return kind_of_folder(path);
    }
    if (!fs::is_regular_file(status)) {
        return fail(ErrorKind::foreign, path, "is neither a file nor a folder",
                    "save what it holds in a file first");
    }
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        return fail(ErrorKind::unreadable, path, std::strerror(errno), "check who may read it");
    }
    std::array<char, 512> head{};
    file.read(head.data(), head.size());
    return kind_of_bytes(path, std::string_view(head.data(), static_cast<std::size_t>(file.gcount())));
}

} // namespace skbscope::app
