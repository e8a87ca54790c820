// The name of a kernel from its address: the program's own symbol table, read once, the first time that somebody asks.

#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/simt/grid.h"

namespace galrec::simt {

namespace {

using Symbols = std::map<std::uintptr_t, std::string>;

std::uintptr_t load_address() {
  std::uintptr_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* program, std::size_t, void* out) {
        *static_cast<std::uintptr_t*>(out) = program->dlpi_addr;
        return 1;  // the first one is the program itself
      },
      &address);
  return address;
}

Symbols read_symbols() {
  Symbols symbols;
  std::ifstream in("/proc/self/exe", std::ios::binary);
  ElfW(Ehdr) header{};
  in.read(reinterpret_cast<char*>(&header), sizeof(header));
  if (!in || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return symbols;
  std::vector<ElfW(Shdr)> sections(header.e_shnum);
  in.seekg(static_cast<std::streamoff>(header.e_shoff));
  in.read(reinterpret_cast<char*>(sections.data()), static_cast<std::streamsize>(sections.size() * sizeof(sections[0])));
  const auto bytes_of = [&](const ElfW(Shdr) & section) {
    std::vector<char> bytes(section.sh_size);
    in.seekg(static_cast<std::streamoff>(section.sh_offset));
    in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return bytes;
  };
  const std::uintptr_t base = load_address();
  for (const auto& section : sections) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
    const std::vector<char> table = bytes_of(section), names = bytes_of(sections[section.sh_link]);
    for (std::size_t at = 0; at + sizeof(ElfW(Sym)) <= table.size(); at += sizeof(ElfW(Sym))) {
      ElfW(Sym) symbol;
      std::memcpy(&symbol, &table[at], sizeof(symbol));
      if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_value != 0 && symbol.st_name < names.size()) {
        symbols.emplace(base + symbol.st_value, &names[symbol.st_name]);
      }
    }
  }
  return symbols;
}

void erase_all(std::string& text, const char* part) {
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part)) text.erase(at, std::strlen(part));
}

/// "void galrec::(anonymous namespace)::f<float, 4>(float*, int)" becomes "f<float, 4>".
std::string shortened(std::string name) {
  erase_all(name, "(anonymous namespace)::");
  erase_all(name, "galrec::");
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    depth += name[i] == '<' ? 1 : name[i] == '>' ? -1 : 0;
    if (depth == 0 && name[i] == '(') {
      name.resize(i);
      break;
    }
  }
  if (name.starts_with("void ")) name.erase(0, 5);
  return name;
}

}  // namespace

std::string name_of_kernel(const void* kernel) {
  static const Symbols symbols = read_symbols();
  const auto found = symbols.find(reinterpret_cast<std::uintptr_t>(kernel));
  if (found == symbols.end()) return fmt::format("kernel at {}", kernel);
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> readable(
      abi::__cxa_demangle(found->second.c_str(), nullptr, nullptr, &status), &std::free);
  return shortened(status == 0 ? readable.get() : found->second);
}

}  // namespace galrec::simt
