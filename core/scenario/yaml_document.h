#pragma once
// A YAML text as scenarios may be written: one document, nested no deeper than a person would, without anchors and aliases.

#include <string>
#include <yaml-cpp/yaml.h>

namespace skbscope::yaml {

/// Throws Complaint where the text is no such document, and yaml-cpp's exceptions where it is no YAML.
[[nodiscard]] YAML::Node load_document(const std::string& text);

} // namespace skbscope::yaml
