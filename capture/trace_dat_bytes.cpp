#include "capture/trace_dat_bytes.h"

#include <algorithm>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

namespace skbscope::trace_dat {

std::string shown(std::string_view text)
{
    std::string line(text.substr(0, 32));
    std::ranges::replace_if(line, [](char c) { return c < ' ' || c > '~'; }, '?');
    return line;
}

std::vector<std::uint8_t> unpack(Packing packing, Bytes packed, std::size_t size)
{
    // Neither packs better than this: what claims more is damage, and gets no memory.
    constexpr std::size_t best_ratio = 1 << 15;
    if (packed.empty() || size / best_ratio > packed.size()) {
        return {};
    }
    std::vector<std::uint8_t> out(size);
    if (packing == Packing::zstd) {
        const std::size_t got = ZSTD_decompress(out.data(), out.size(), packed.data(), packed.size());
        return ZSTD_isError(got) == 0U && got == size ? out : std::vector<std::uint8_t>{};
    }
    uLongf got = size;
    const bool whole = uncompress(out.data(), &got, packed.data(), packed.size()) == Z_OK && got == size;
    return whole ? out : std::vector<std::uint8_t>{};
}

InputFile::~InputFile()
{
    if (mapping_ != nullptr) {
        munmap(mapping_, bytes_.size());
    }
    if (file_ >= 0) {
        close(file_);
    }
}

bool InputFile::open(const std::string& path, Bytes start)
{
    file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (file_ < 0 || fstat(file_, &status) != 0) {
        return false;
    }
    if (S_ISREG(status.st_mode) && status.st_size > 0) {
        const auto size = static_cast<std::size_t>(status.st_size);
        void* mapping = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file_, 0);
        if (mapping != MAP_FAILED) {
            mapping_ = mapping;
            bytes_ = {static_cast<const std::uint8_t*>(mapping), size};
            return true;
        }
    }
    constexpr std::size_t step = std::size_t{1} << 20;
    for (;;) {
        const std::size_t had = copy_.size();
        copy_.resize(had + step);
        const ssize_t got = ::read(file_, copy_.data() + had, step);
        copy_.resize(had + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
        if (got < 0) {
            return false;
        }
        const std::size_t common = std::min(start.size(), copy_.size());
        if (got == 0 || std::memcmp(copy_.data(), start.data(), common) != 0) {
            bytes_ = copy_;
            return true;
        }
    }
}

std::size_t InputFile::read(std::uint64_t offset, std::span<std::uint8_t> to) const
{
    if (mapping_ == nullptr) {
        const std::size_t from = static_cast<std::size_t>(std::min<std::uint64_t>(offset, bytes_.size()));
        const std::size_t count = std::min(to.size(), bytes_.size() - from);
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(from), count, to.begin());
        return count;
    }
    std::size_t done = 0;
    while (done < to.size()) {
        const ssize_t got = pread(file_, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
        if (got <= 0) {
            break;
        }
        done += static_cast<std::size_t>(got);
    }
    return done;
}

} // namespace skbscope::trace_dat
