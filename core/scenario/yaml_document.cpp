#include "core/scenario/yaml_document.h"

#include "core/scenario/yaml_reader.h"

#include <sstream>
#include <yaml-cpp/eventhandler.h>

namespace skbscope::yaml {
namespace {

/// Goes through the text without building anything: a few aliases of aliases would make a small file huge.
class Rules final : public YAML::EventHandler {
public:
    void OnDocumentStart(const YAML::Mark& mark) override
    {
        if (++documents_ > 1) {
            throw Complaint{mark, "a second document begins here", "a scenario is one document"};
        }
    }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { check(mark, anchor); }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override { check(mark, anchor); }
    void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, const std::string&) override { check(mark, anchor); }
    void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override { check(mark, anchor); }
    void OnSequenceEnd() override {}
    void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override { check(mark, anchor); }
    void OnMapEnd() override {}

private:
    static void check(const YAML::Mark& mark, YAML::anchor_t anchor)
    {
        if (anchor != 0) {
            throw Complaint{mark, "YAML anchors and aliases are not allowed here", "write the value out"};
        }
    }

    int documents_ = 0;
};

} // namespace

YAML::Node load_document(const std::string& text)
{
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    Rules rules;
    while (parser.HandleNextDocument(rules)) {
    }
    return YAML::Load(text);
}

} // namespace skbscope::yaml
