#include "common/base/log_events.h"

#include "common/base/names.h"

namespace aragora::log {

namespace {
constexpr Names<Event, 14> kNames{{{Event::None, ""},
                                   {Event::Access, "access"},
                                   {Event::Started, "started"},
                                   {Event::Stopping, "stopping"},
                                   {Event::Stopped, "stopped"},
                                   {Event::Reloaded, "reloaded"},
                                   {Event::ReloadRefused, "reload_refused"},
                                   {Event::DebateEnded, "debate_ended"},
                                   {Event::DatabaseState, "database_state"},
                                   {Event::RedisState, "redis_state"},
                                   {Event::MemoryState, "memory_state"},
                                   {Event::BackupFailed, "backup_failed"},
                                   {Event::AuditLogBroken, "audit_log_broken"},
                                   {Event::BudgetThreshold, "budget_threshold"}}};
constexpr Names<Event, 14> kMessageIds{{{Event::None, ""},
                                        {Event::Access, "718ead13beda9d113c076c3eba7e8c0d"},
                                        {Event::Started, "ccf3935c5eb0087bc512400ae925773f"},
                                        {Event::Stopping, "b2f062bcd1fb1c6bb28d1a7bb03504b8"},
                                        {Event::Stopped, "bbb017e7a52827a09721febbfde54a63"},
                                        {Event::Reloaded, "62b6d2aa18081518fe4b98f7226a3121"},
                                        {Event::ReloadRefused, "99bc7c49d21950430c3529be4370f1df"},
                                        {Event::DebateEnded, "634c557110a9479ad10b51068d2df7b6"},
                                        {Event::DatabaseState, "52ebf88debb45f96863926d2881d7c77"},
                                        {Event::RedisState, "f438c3b07262efdfe2b4d6066c69a154"},
                                        {Event::MemoryState, "95e17afd4a1a1dcf0df84c994c7d752b"},
                                        {Event::BackupFailed, "080fed06fc8a9838deb00431880b4452"},
                                        {Event::AuditLogBroken, "25d61b673d4051f31828c7fa03d073c8"},
                                        {Event::BudgetThreshold, "11b65b87aa9f40489050d1508aad8f86"}}};
}  // namespace

std::string_view name(Event event) { return nameIn(kNames, event); }
std::string_view messageId(Event event) { return nameIn(kMessageIds, event); }

}  // namespace aragora::log
