#pragma once
// A frame in words, layer by layer, with the place of every field: what the inspector shows beside the bytes.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace skbscope {

/// One field of a header. Offsets are from the frame's first byte.
struct DissectedField {
    std::string name;  ///< "Time to live"
    std::string value; ///< "64"
    std::size_t offset = 0;
    std::size_t length = 0; ///< bytes that hold it (a field of bits names the bytes around it)
    bool odd = false;       ///< it cannot be right: a wrong checksum, a length that leads outside
};

struct DissectedLayer {
    std::string name;    ///< "IPv4"
    std::string summary; ///< "10.99.0.1 → 10.99.0.2, UDP"
    std::size_t offset = 0;
    std::size_t length = 0; ///< of the header; of a payload, its bytes
    std::vector<DissectedField> fields;
};

/// Never fails: what cannot be understood is a layer "Data", a cut header says what is missing. The layers follow each
/// other and cover the whole frame. `wire_length` is the frame's length on the wire, if more than what was captured.
[[nodiscard]] std::vector<DissectedLayer> dissect(std::span<const std::uint8_t> frame, std::size_t wire_length = 0);

} // namespace skbscope
