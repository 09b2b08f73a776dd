// A library needs a source to own its precompiled header.
