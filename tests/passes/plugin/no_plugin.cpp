// A library that is no plug-in.
extern "C" int nothing_of_heddle() { return 0; }
