#pragma once
// The bytes of an sk_buff: shared between clones and between a World and its snapshots, and copied by the first writer.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace skbscope::kernel {

/// A value: copying it shares the bytes. Only writable() may change them.
class SkbHead {
public:
    [[nodiscard]] std::size_t size() const { return bytes_ ? bytes_->size() : 0; }
    [[nodiscard]] std::span<const std::uint8_t> bytes() const
    {
        return bytes_ ? std::span<const std::uint8_t>(*bytes_) : std::span<const std::uint8_t>{};
    }
    /// Its own copy, if somebody else sees these bytes, too.
    [[nodiscard]] std::vector<std::uint8_t>& writable()
    {
        if (!unique()) [[unlikely]] {
            own();
        }
        return *bytes_;
    }
    /// So many zero bytes, its own. Memory that nobody else sees is used again.
    void assign(std::size_t size)
    {
        if (unique()) {
            bytes_->assign(size, std::uint8_t{0});
        } else {
            bytes_ = std::make_shared<std::vector<std::uint8_t>>(size, std::uint8_t{0});
        }
    }
    [[nodiscard]] bool unique() const { return bytes_.use_count() == 1; }
    [[nodiscard]] bool shares_with(const SkbHead& other) const { return bytes_ != nullptr && bytes_ == other.bytes_; }

private:
    /// Out of the way of those who write often: hardly a head is shared.
    [[gnu::noinline]] void own() { bytes_ = bytes_ ? std::make_shared<std::vector<std::uint8_t>>(*bytes_) : std::make_shared<std::vector<std::uint8_t>>(); }

    std::shared_ptr<std::vector<std::uint8_t>> bytes_;
};

} // namespace skbscope::kernel
