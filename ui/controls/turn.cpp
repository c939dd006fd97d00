#include "ui/controls/turn.h"

#include "ui/player/session.h"

#include <algorithm>
#include <utility>

namespace skbscope::ui {

Turn::Turn(Session* session, const QString& words, Step back, Step forth)
    : QUndoCommand(words), m_session(session), m_back(std::move(back)), m_forth(std::move(forth))
{
}

void Turn::undo()
{
    if (m_session != nullptr && !(m_made && choose(m_from))) {
        m_back(*m_session);
    }
}

void Turn::redo()
{
    if (m_session == nullptr || (m_made && choose(*m_made))) {
        return;
    }
    m_from = shown();
    m_forth(*m_session);
    m_made = shown() == m_from ? std::nullopt : std::optional(shown());
}

std::uint32_t Turn::shown() const
{
    const auto all = m_session->source().branches();
    const std::size_t index = m_session->source().chosen_branch();
    return index < all.size() ? all[index].id : 0;
}

bool Turn::choose(std::uint32_t id)
{
    const auto all = m_session->source().branches();
    const auto found = std::ranges::find(all, id, &Branch::id);
    if (found == all.end()) {
        return false; // it has given way to newer ones
    }
    m_session->chooseBranch(static_cast<std::size_t>(found - all.begin()));
    return true;
}

} // namespace skbscope::ui
