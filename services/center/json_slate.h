/* services/center/json_slate.h - memory for the trees of parsed requests.
 *
 * jansson makes a dozen small allocations for each message. Between begin and end they are taken
 * off a slate, one after the other, and the slate is wiped when the last of them was given back,
 * which is when the request has been read. What does not fit comes from malloc(). */
#ifndef CENTER_JSON_SLATE_H
#define CENTER_JSON_SLATE_H

void json_slate_begin(void);
void json_slate_end(void);

#endif
