#include "apps/galrec/commands.h"

int main(int argc, char** argv) { return galrec::apps::run(argc, argv); }
