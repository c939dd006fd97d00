#include "capture/traced_kernel.h"

#include "capture/parse_number.h"

#include <algorithm>

namespace skbscope {

bool TracedKernel::add_format(std::string_view system, std::string_view text)
{
    auto format = EventFormat::parse(system, text);
    if (!format) {
        return false;
    }
    const auto id = static_cast<std::size_t>(format->id);
    if (format_by_id_.size() <= id) {
        format_by_id_.resize(id + 1, -1);
    }
    if (format_by_id_[id] < 0) {
        format_by_id_[id] = static_cast<int>(formats_.size());
        formats_.push_back(std::move(*format));
    }
    return true;
}

const EventFormat* TracedKernel::format(int event_id) const
{
    const auto id = static_cast<std::size_t>(event_id);
    if (event_id < 0 || id >= format_by_id_.size() || format_by_id_[id] < 0) {
        return nullptr;
    }
    return &formats_[static_cast<std::size_t>(format_by_id_[id])];
}

void TracedKernel::add_tasks(std::string_view text)
{
    for (std::size_t from = 0; from < text.size();) {
        const std::size_t end = std::min(text.find('\n', from), text.size());
        const std::string_view line = text.substr(from, end - from);
        from = end + 1;
        const std::size_t space = line.find(' ');
        std::int32_t pid = 0;
        if (space != std::string_view::npos && parse_number(line.substr(0, space), pid)) {
            tasks_.emplace(pid, line.substr(space + 1));
        }
    }
}

std::string_view TracedKernel::task_name(std::int32_t pid) const
{
    const auto at = tasks_.find(pid);
    return at == tasks_.end() ? std::string_view{} : at->second;
}

void TracedKernel::take_clock(std::string_view text)
{
    text = text.substr(0, text.find('\0'));
    const std::size_t open = text.find('[');
    const std::size_t close = text.find(']', open == std::string_view::npos ? 0 : open);
    if (open != std::string_view::npos && close != std::string_view::npos) {
        clock = text.substr(open + 1, close - open - 1);
    } else if (!text.empty() && text.find(' ') == std::string_view::npos) {
        clock = text;
    }
}

void TracedKernel::take_uname(std::string_view text)
{
    text = text.substr(0, text.find('\0'));
    for (int word = 0; word < 2; ++word) {
        const std::size_t space = text.find(' ');
        text = space == std::string_view::npos ? std::string_view{} : text.substr(space + 1);
    }
    release = text.substr(0, text.find(' '));
}

} // namespace skbscope
