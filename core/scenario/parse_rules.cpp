// YAML -> packet filter rules: the text of a host's key, checked by its reader.

#include "core/scenario/parse_parts.h"
#include "core/scenario/rules_text.h"

namespace skbscope {

using namespace yaml;

std::string rules_text(const YAML::Node& node, std::string_view key)
{
    std::string text = scalar(node, key);
    const auto parsed = key == "nft" ? parse_nft(text, std::string(key)) : parse_iptables_save(text, std::string(key));
    if (!parsed) {
        complain(node, parsed.error().where + ": " + parsed.error().what, parsed.error().remedy);
    }
    return text;
}

} // namespace skbscope
