#include "capture/live/page_spool.h"

#include <utility>

namespace skbscope {

bool PageSpool::has_room() const
{
    const std::scoped_lock lock(mutex_);
    return bytes_ < limit_;
}

void PageSpool::push(std::uint32_t source, std::vector<std::uint8_t> bytes)
{
    const std::scoped_lock lock(mutex_);
    bytes_ += bytes.size();
    pages_.push_back({source, std::move(bytes)});
}

void PageSpool::set_horizon(std::uint64_t time_ns)
{
    const std::scoped_lock lock(mutex_);
    horizon_ = time_ns;
}

void PageSpool::close()
{
    const std::scoped_lock lock(mutex_);
    closed_ = true;
}

PageSpool::Batch PageSpool::take()
{
    const std::scoped_lock lock(mutex_);
    bytes_ = 0;
    return {std::exchange(pages_, {}), horizon_, closed_};
}

std::size_t PageSpool::waiting() const
{
    const std::scoped_lock lock(mutex_);
    return bytes_;
}

} // namespace skbscope
