#include "cli/audit_trail.h"
#include "cli/commands/commands.h"

namespace aragora::cli {

void declareKey(CommandLine line) {
  line.subcommand("show", "Print the id of the encryption key and the public age recipient of backups")
      .run([](Context& context) {
        const auto& ring = context.backupKeyring();
        const auto recipient = crypto::formatAgeRecipient(ring.backupRecipient());
        context.out().line(fmt::format("key id: {}\nbackup recipient: {}", ring.activeId(), recipient));
        context.out().document({{"key_id", ring.activeId()}, {"backup_recipient", recipient}});
        return 0;
      });
  line.subcommand("backup-identity", "Print the age identity that opens backups with the stock age program (secret)")
      .run([](Context& context) {
        record(context, "key.export", "backup-identity");
        context.out().note("This opens every backup. Keep it offline, with mode 0600:");
        context.out().text("backup_identity", crypto::formatAgeIdentity(context.keyring().backupIdentity()));
        return 0;
      });
  line.subcommand("backup-writer", "Print the key for a machine that makes backups and must not read them (secret)")
      .run([](Context& context) {
        record(context, "key.export", "backup-writer");
        context.out().note("For ARAGORA_BACKUP_WRITER_KEY of that machine. It signs backups and opens none:");
        context.out().text("backup_writer_key", context.keyring().backupWriter().reveal());
        return 0;
      });
  line.run([](Context&) -> int { throw Error(Code::Usage, "key needs a subcommand", "try: aragora key show"); });
}

}  // namespace aragora::cli
