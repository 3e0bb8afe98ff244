/* Where the parts of our own image lie (boot/tithe.ld). */
#ifndef MACHINE_IMAGE_H
#define MACHINE_IMAGE_H

extern char image_start[], image_text_end[], image_rodata_start[], image_data_start[],
    image_data_end[], image_end[];

#endif
