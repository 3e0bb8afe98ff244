/*
 * A picture as text on the operator's line, for scripts/tithe_picture.py to read. It goes in
 * application program commands (ECMA-48, APC), which terminals do not show:
 *
 *     ESC _ tithe-picture;NAME;WIDTH;HEIGHT ESC \
 *     ESC _ tithe-row;DATA ESC \               any number of them for each row
 *     ESC _ tithe-end;CHECKSUM ESC \           FNV-1a, 32 bits, of all bytes, in hexadecimal
 *
 * DATA has a pixel as four characters of the base64 alphabet, 24 bits with red first; "*" and two
 * characters, 12 bits with the high ones first, repeats the last pixel so many times; "^" and two
 * characters takes so many pixels from the row above.
 */
#ifndef MONITOR_PICTURE_H
#define MONITOR_PICTURE_H

#include "lib/types.h"

#define PICTURE_MAX_WIDTH 2560
/* What one row takes at most, and what the other two commands do. */
#define PICTURE_ROW_BYTES  (PICTURE_MAX_WIDTH * 4 + 128 * 20)
#define PICTURE_LINE_BYTES 96
#define PICTURE_CHECKSUM   0x811c9dc5u /* of nothing */

size_t picture_begin(const char *name, unsigned width, unsigned height, char *out, size_t room);
/* above: the row before, or NULL. Updates *checksum. */
size_t picture_row(const uint8_t *rgb, const uint8_t *above, unsigned width, uint32_t *checksum,
                   char *out, size_t room);
size_t picture_end(uint32_t checksum, char *out, size_t room);

#endif
