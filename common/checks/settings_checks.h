// Private to common/checks: the functions that the table in all_checks.cpp names, and makers of findings.
#pragma once

#include "common/checks/check.h"

namespace aragora::checks {

struct DatabaseFacts;
// The finding to give instead, when the database could not be asked.
std::optional<Finding> databaseSilent(const DatabaseFacts& facts, std::string_view what);

Finding ok(std::string message);
Finding skipped(std::string message);
Finding warning(std::string message, std::string origin, std::string hint);
Finding misconfigured(std::string message, std::string origin, std::string hint);

// A value was written, cannot be used, and `configuration` says why: to call it missing as well would be a second
// finding for one mistake.
std::optional<Finding> alreadySaid(const Context& context, std::string_view key, std::string_view title);

std::vector<Finding> checkEnvironment(const Context& context);
std::vector<Finding> checkConfiguration(const Context& context);
std::vector<Finding> checkDistributedState(const Context& context);
std::vector<Finding> checkEncryption(const Context& context);
std::vector<Finding> checkJwtSecret(const Context& context);
std::vector<Finding> checkProviders(const Context& context);
std::vector<Finding> checkFallback(const Context& context);
std::vector<Finding> checkModels(const Context& context);
std::vector<Finding> checkAccess(const Context& context);
std::vector<Finding> checkOrigins(const Context& context);
std::vector<Finding> checkHttps(const Context& context);
std::vector<Finding> checkRateLimit(const Context& context);
std::vector<Finding> checkKeyRotation(const Context& context);
std::vector<Finding> checkSecretSources(const Context& context);
std::vector<Finding> checkSecretReuse(const Context& context);
std::vector<Finding> checkUnknownVariables(const Context& context);

std::vector<Finding> checkRedis(const Context& context);
std::vector<Finding> checkPostgres(const Context& context);
std::vector<Finding> checkMigrations(const Context& context);
std::vector<Finding> checkKeyMatchesDatabase(const Context& context);
std::vector<Finding> checkDatabaseWritable(const Context& context);
std::vector<Finding> checkDatabaseRights(const Context& context);
std::vector<Finding> checkDatabasePrograms(const Context& context);
std::vector<Finding> checkPoolSize(const Context& context);
std::vector<Finding> checkClock(const Context& context);

std::vector<Finding> checkCertificate(const Context& context);
std::vector<Finding> checkServiceUser(const Context& context);
std::vector<Finding> checkSecretFiles(const Context& context);
std::vector<Finding> checkCores(const Context& context);
std::vector<Finding> checkMemory(const Context& context);
std::vector<Finding> checkDisk(const Context& context);
std::vector<Finding> checkOpenFiles(const Context& context);

std::vector<Finding> checkListening(const Context& context);
std::vector<Finding> checkStateDirectory(const Context& context);
std::vector<Finding> checkBackupDirectory(const Context& context);

std::vector<Finding> checkRecoveryKeys(const Context& context);
std::vector<Finding> checkOffsite(const Context& context);
std::vector<Finding> checkBackupAge(const Context& context);
std::vector<Finding> checkBackupProof(const Context& context);
std::vector<Finding> checkBackupKeys(const Context& context);
std::vector<Finding> checkBackupSpace(const Context& context);
std::vector<Finding> checkRecoveryWindow(const Context& context);
std::vector<Finding> checkRecoveryLoss(const Context& context);
std::vector<Finding> checkRecoveryTime(const Context& context);
std::vector<Finding> checkSlotGuard(const Context& context);
std::vector<Finding> checkLastCommits(const Context& context);
std::vector<Finding> checkDrills(const Context& context);
std::vector<Finding> checkKeySteps(const Context& context);

std::vector<Finding> checkNotify(const Context& context);
std::vector<Finding> checkNotifyReach(const Context& context);
std::vector<Finding> checkOwnFiles(const Context& context);

}  // namespace aragora::checks
