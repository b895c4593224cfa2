declare <16 x float> @llvm.fmuladd.v16f32(<16 x float>, <16 x float>, <16 x float>)
declare <16 x float> @llvm.masked.load.v16f32.p0(ptr, i32 immarg, <16 x i1>, <16 x float>)
declare <16 x i1> @llvm.get.active.lane.mask.v16i1.i64(i64, i64)
declare void @llvm.masked.store.v16f32.p0(<16 x float>, ptr, i32 immarg, <16 x i1>)
define void @kernel(ptr %context, i64 %begin, i64 %end) #0 {
entry:
  %v1 = getelementptr ptr, ptr %context, i64 0
  %v2 = load ptr, ptr %v1
  %v3 = getelementptr ptr, ptr %context, i64 1
  %v4 = load ptr, ptr %v3
  %v5 = getelementptr ptr, ptr %context, i64 2
  %v6 = load ptr, ptr %v5
  %v7 = sub i64 %end, %begin
  %v8 = urem i64 %v7, 16
  %v9 = sub i64 %end, %v8
  br label %span.head
span.head:
  %span.index = phi i64 [%begin, %entry], [%span.index.next, %span]
  %v10 = icmp slt i64 %span.index, %v9
  br i1 %v10, label %span, label %span.rest
span:
  %v11 = getelementptr float, ptr %v4, i64 %span.index
  %v12 = load <16 x float>, ptr %v11, align 4
  %v13 = getelementptr float, ptr %v6, i64 %span.index
  %v14 = load <16 x float>, ptr %v13, align 4
  %v15 = call <16 x float> @llvm.fmuladd.v16f32(<16 x float> %v12, <16 x float> %v14, <16 x float> splat (float 0x3FF0000000000000))
  %v16 = fmul <16 x float> %v15, %v12
  %v17 = getelementptr float, ptr %v2, i64 %span.index
  store <16 x float> %v16, ptr %v17, align 4
  %span.index.next = add i64 %span.index, 16
  br label %span.head
span.rest:
  %v18 = icmp ne i64 %v8, 0
  br i1 %v18, label %span.tail, label %span.done
span.tail:
  %v19 = call <16 x i1> @llvm.get.active.lane.mask.v16i1.i64(i64 0, i64 %v8)
  %v20 = getelementptr float, ptr %v4, i64 %v9
  %v21 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr %v20, i32 4, <16 x i1> %v19, <16 x float> zeroinitializer)
  %v22 = getelementptr float, ptr %v6, i64 %v9
  %v23 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr %v22, i32 4, <16 x i1> %v19, <16 x float> zeroinitializer)
  %v24 = call <16 x float> @llvm.fmuladd.v16f32(<16 x float> %v21, <16 x float> %v23, <16 x float> splat (float 0x3FF0000000000000))
  %v25 = fmul <16 x float> %v24, %v21
  %v26 = getelementptr float, ptr %v2, i64 %v9
  call void @llvm.masked.store.v16f32.p0(<16 x float> %v25, ptr %v26, i32 4, <16 x i1> %v19)
  br label %span.done
span.done:
  ret void
}
attributes #0 = { nounwind "prefer-vector-width"="256" }
!0 = !{i32 1}
