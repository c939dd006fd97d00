#pragma once
// A capture file as what `replay` reads: from its first frame to its last, several times. What cannot be read twice (a
// pipe) is held in memory.

#include "capture/pcap_file.h"
#include "core/scenario/replay.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace skbscope::app {

class PcapCapture : public Capture {
public:
    /// Errors: those of read_pcap().
    [[nodiscard]] static Result<std::shared_ptr<PcapCapture>> open(const std::string& path)
    {
        auto capture = std::make_shared<PcapCapture>();
        capture->path_ = path;
        std::error_code error;
        const auto status = std::filesystem::status(path, error);
        if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
            auto file = read_pcap(path);
            if (!file) {
                return tl::unexpected(file.error());
            }
            capture->held_ = std::move(*file);
            return capture;
        }
        auto reader = PcapReader::open(path);
        if (!reader) {
            return tl::unexpected(reader.error());
        }
        capture->reader_ = std::move(*reader);
        return capture;
    }

    [[nodiscard]] const CapturedFrame* next() override
    {
        if (held_) {
            return next_ < held_->frames.size()
                       ? give(held_->frames[next_].wall_ns, held_->frames[next_].length, held_->frame(next_))
                       : nullptr;
        }
        const PcapReader::Frame* frame = reader_ ? reader_->next() : nullptr;
        return frame == nullptr ? nullptr : give(frame->wall_ns, frame->length, frame->bytes);
    }
    void start_over() override
    {
        if (next_ > 0 && !held_) {
            auto reader = PcapReader::open(path_);
            reader_.reset(); // a file that has gone meanwhile has no frames
            if (reader) {
                reader_ = std::move(*reader);
            }
        }
        next_ = 0;
    }
    /// PcapFile::damage, once next() has come to the end.
    [[nodiscard]] std::string damage() const
    {
        return held_ ? held_->damage : reader_ ? reader_->damage() : std::string();
    }

private:
    const CapturedFrame* give(std::int64_t wall_ns, std::uint32_t length, std::span<const std::uint8_t> bytes)
    {
        ++next_;
        frame_ = {static_cast<std::uint64_t>(std::max<std::int64_t>(wall_ns, 0)), length,
                  FrameBytes(nullptr, bytes)};
        return &frame_;
    }

    std::string path_;
    std::optional<PcapReader> reader_;
    std::optional<PcapFile> held_;
    std::uint64_t next_ = 0; ///< frames that were given
    CapturedFrame frame_;
};

} // namespace skbscope::app
