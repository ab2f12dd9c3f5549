# embed.sed - a text as string literals, a line each (meson would turn backslashes in its arguments around).
s/\\/\\\\/g
s/"/\\"/g
s/^/"/
s/$/\\n"/
