#include "common/storage/s3_answer.h"

#include <Poco/AutoPtr.h>
#include <Poco/DOM/DOMParser.h>
#include <Poco/DOM/Document.h>
#include <Poco/DOM/Element.h>
#include <Poco/DOM/NodeList.h>
#include <Poco/Exception.h>
#include <Poco/SAX/XMLReader.h>

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::storage {

namespace {
using Poco::AutoPtr;
using Poco::XML::Document;
using Poco::XML::Element;
using Poco::XML::NodeList;

// nullptr for what is no XML. Entities of others are never followed.
AutoPtr<Document> parse(const std::string& text) {
  if (text.find("<!DOCTYPE") != std::string::npos || text.find("<!ENTITY") != std::string::npos) return nullptr;
  try {
    Poco::XML::DOMParser parser;
    parser.setFeature(Poco::XML::XMLReader::FEATURE_EXTERNAL_GENERAL_ENTITIES, false);
    parser.setFeature(Poco::XML::XMLReader::FEATURE_EXTERNAL_PARAMETER_ENTITIES, false);
    parser.setFeature(Poco::XML::DOMParser::FEATURE_FILTER_WHITESPACE, true);
    return parser.parseString(text);
  } catch (const Poco::Exception&) {
    return nullptr;
  }
}

std::string childText(const Element& parent, const std::string& name) {
  const auto* child = parent.getChildElement(name);
  return child != nullptr ? child->innerText() : std::string();
}

template <typename Take>
void eachElement(const Document& document, const std::string& name, Take take) {
  const AutoPtr<NodeList> found = document.getElementsByTagName(name);
  for (unsigned long i = 0; i < found->length(); ++i) {
    if (const auto* element = dynamic_cast<const Element*>(found->item(i))) take(*element);
  }
}
}  // namespace

S3Error parseS3Error(const std::string& text) {
  const auto document = parse(text);
  if (!document || document->documentElement() == nullptr || document->documentElement()->nodeName() != "Error")
    return {};
  return {childText(*document->documentElement(), "Code"), childText(*document->documentElement(), "Message")};
}

std::string textOfElement(const std::string& text, const std::string& element) {
  std::string result;
  if (const auto document = parse(text))
    eachElement(*document, element, [&](const Element& found) {
      if (result.empty()) result = found.innerText();
    });
  return result;
}

S3Listing parseS3Listing(const std::string& text) {
  const auto document = parse(text);
  if (!document || document->documentElement() == nullptr ||
      document->documentElement()->nodeName() != "ListBucketResult")
    throw Error(Code::Unreachable, "the store answered no listing");
  S3Listing listing;
  eachElement(*document, "Contents", [&](const Element& found) {
    listing.objects.push_back(
        {childText(found, "Key"), static_cast<std::uint64_t>(parseInteger(childText(found, "Size")).value_or(0))});
  });
  eachElement(*document, "CommonPrefixes",
              [&](const Element& found) { listing.prefixes.push_back(childText(found, "Prefix")); });
  if (childText(*document->documentElement(), "IsTruncated") == "true") {
    listing.next = childText(*document->documentElement(), "NextContinuationToken");
    if (listing.next.empty()) throw Error(Code::Unreachable, "the store cut its listing and did not say where");
  }
  return listing;
}

std::vector<S3Upload> parseS3Uploads(const std::string& text) {
  std::vector<S3Upload> uploads;
  if (const auto document = parse(text))
    eachElement(*document, "Upload", [&](const Element& found) {
      uploads.push_back({childText(found, "Key"), childText(found, "UploadId")});
    });
  return uploads;
}

}  // namespace aragora::storage
