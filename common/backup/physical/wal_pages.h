// The pages of a segment that nobody signed: whether they are this cluster's and lie where they say
// (src/include/access/xlog_internal.h: XLogPageHeaderData, XLogLongPageHeaderData). The log ends before the first that
// is not, as it would for PostgreSQL, which also checks the sums of the records. One file, one thread.
#pragma once

#include <string>

#include "common/base/file.h"
#include "common/database/postgres/lsn.h"

namespace aragora::backup {

class PageFilter {
 public:
  PageFilter(const database::postgres::WalSegment& segment, std::uint64_t segment_size, std::string system_identifier,
             std::string where)
      : segment_(segment),
        size_(segment_size),
        system_identifier_(std::move(system_identifier)),
        where_(std::move(where)) {}
  // The file's bytes in their order; hands on what can be believed.
  void take(std::string_view bytes, const ByteSink& sink);
  // Behind the last one: a page that had only begun.
  void finish(const ByteSink& sink) const;

 private:
  std::string strangeness() const;  // of the page whose head is here; empty: it is ours
  const database::postgres::WalSegment segment_;
  const std::uint64_t size_;
  const std::string system_identifier_;
  const std::string where_;
  std::uint64_t at_ = 0;
  std::string head_;  // of the page that is passing, until it is complete
  bool ended_ = false;
};

}  // namespace aragora::backup
